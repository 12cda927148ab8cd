"""A TCP proxy that cuts connections when told to. TLS goes through it unread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Proxy:
    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self.url = ""
        self.cut_requests = 0
        """So many times the next bytes to the server are dropped, and their connection with them."""
        self.cut_answers = 0
        """So many times the next bytes to the client: the server has done what it was asked."""
        self.spared = 0
        """Bytes to the client that are let through before that."""

    async def connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        up = asyncio.create_task(self._pump(client, to_server, "cut_requests"))
        down = asyncio.create_task(self._pump(server, to_client, "cut_answers"))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for writer in (to_client, to_server):
            writer.transport.abort()
        await asyncio.wait({up, down})

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cuts: str) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                left = getattr(self, cuts)
                if left and cuts == "cut_answers" and self.spared > 0:
                    self.spared -= len(data)
                elif left:
                    setattr(self, cuts, left - 1)
                    return
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxied(target: str) -> AsyncGenerator[Proxy]:
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}{urlsplit(target).path}"
    try:
        yield proxy
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()
