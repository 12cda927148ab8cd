"""A gateway of Cosmos DB that says what a test tells it to, and remembers what it was asked.

Account, container and partition ranges are answered as the service documents them; requests for documents go to
`documents`. For what the stand-in server cannot do: throttling, refusals, several physical partitions.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightshift.store.cosmos import NOWHERE
from nightshift.testing.emulators.identity import self_signed


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Gateway:
    documents: Callable[[Asked], Answer]
    ranges: list[str] = field(default_factory=lambda: ["", "FF"])
    """Borders of the physical partitions' ranges."""
    url: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    """For documents only."""

    level: str = "Strong"
    """The account's consistency."""

    def answer(self, asked: Asked) -> Answer:
        wanted = asked.headers.get("x-ms-consistency-level")
        if "/docs/" in asked.path and wanted == "BoundedStaleness" and self.level == "Session":
            said = f"ConsistencyLevel {wanted} specified in the request is invalid when service is configured with "
            return Answer(400, {"code": "BadRequest", "message": said + "consistency level Session."})
        if asked.path.endswith(f"/docs/{NOWHERE}/"):
            return Answer(404, {"code": "NotFound", "message": "Resource Not Found."})
        if "/docs" in asked.path:
            self.asked.append(asked)
            return self.documents(asked)
        if asked.path.endswith("/pkranges/") or asked.path.endswith("/pkranges"):
            if "if-none-match" in asked.headers:
                return Answer(304, headers={"etag": '"1"'})
            borders = zip(self.ranges, self.ranges[1:], strict=False)
            ranges = [{"id": str(n), "minInclusive": a, "maxExclusive": b} for n, (a, b) in enumerate(borders)]
            return Answer(200, {"PartitionKeyRanges": ranges, "_count": len(ranges)}, {"etag": '"1"'})
        if "/colls/" in asked.path:
            key = {"paths": ["/pk"], "kind": "Hash", "version": 2}
            return Answer(200, {"id": "documents", "_rid": "AAAAAAAAAAA=", "_self": "", "partitionKey": key})
        here = [{"name": "here", "databaseAccountEndpoint": self.url + "/"}]
        level = {"defaultConsistencyLevel": self.level}
        account = {"id": "a", "writableLocations": here, "readableLocations": here, "userConsistencyPolicy": level}
        return Answer(200, account)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().strip().split("\r\n")
                method, path, _ = first.split(" ")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                content = await reader.readexactly(int(headers.get("content-length", "0")))
                answer = self.answer(Asked(method, path, headers, json.loads(content) if content else None))
                body = b"" if answer.body is None else json.dumps(answer.body).encode()
                said = {"content-type": "application/json", "content-length": str(len(body)), **answer.headers}
                status = f"HTTP/1.1 {answer.status} status\r\n"
                writer.write((status + "".join(f"{k}: {v}\r\n" for k, v in said.items()) + "\r\n").encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.transport.abort()


@asynccontextmanager
async def gateway(folder: Path, documents: Callable[[Asked], Answer]) -> AsyncGenerator[Gateway]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(folder))
    gateway = Gateway(documents)
    server = await asyncio.start_server(gateway.connected, "127.0.0.1", 0, ssl=context)
    gateway.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield gateway
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()
