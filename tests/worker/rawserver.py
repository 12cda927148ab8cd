"""A model server that sends whatever bytes a test wants, and breaks off where it wants."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Raw:
    """One answer, as bytes. `reset`: the connection is not closed in good order."""

    content: bytes
    reset: bool = False


def sse(*events: dict[str, Any] | str, done: bool = True) -> Raw:
    """A stream that ends well."""
    lines = [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events]
    return _http(200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n" if done else ""]))


def answer(status: int, body: Any, **headers: str) -> Raw:
    return _http(status, "application/json", json.dumps(body), headers)


def error(status: int, message: str, code: str | None = None, param: str | None = None, **headers: str) -> Raw:
    """In OpenAI's shape."""
    kind = "invalid_request_error"
    return answer(status, {"error": {"message": message, "type": kind, "param": param, "code": code}}, **headers)


def page(text: str) -> Raw:
    return _http(200, "text/html", text)


def _http(status: int, kind: str, body: str, headers: dict[str, str] | None = None) -> Raw:
    content = body.encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {kind}", f"content-length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
    return Raw("\r\n".join([*lines, "connection: close", "", ""]).encode() + content)


@dataclass
class RawServer:
    answers: deque[Raw] = field(default_factory=deque[Raw])
    """The last one is repeated for ever."""
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[str] = field(default_factory=list[str])
    url: str = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        self.requests.append(json.loads(await reader.readexactly(length)))
        self.headers.append(head)
        raw = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        writer.write(raw.content)
        await writer.drain()
        if raw.reset:
            writer.transport.abort()
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[RawServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server:
            yield self
