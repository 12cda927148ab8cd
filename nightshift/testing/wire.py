"""Just enough HTTP/1.1 to serve a client on this machine, and to hang up on it at will."""

from __future__ import annotations

import asyncio
import http
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = None
    """None: no body. Else sent as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: bool = False
    """The connection breaks in the middle of it."""


type Handler = Callable[[Request], Awaitable[Answer | None]]
"""None: the connection is cut without a word."""


async def serve(handler: Handler, host: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                answer = await handler(request)
                if answer is None:
                    writer.transport.abort()
                    return
                data = _bytes(answer)
                writer.write(data[: len(data) // 2] if answer.cut else data)
                await writer.drain()
                if answer.cut:
                    writer.transport.abort()
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client hung up: it does not want to know
        finally:
            writer.close()

    return await asyncio.start_server(converse, host, port, ssl=tls)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode("ascii").split()
    headers: dict[str, str] = {}
    while (line := (await reader.readline()).decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


def _bytes(answer: Answer) -> bytes:
    body = b"" if answer.body is None else json.dumps(answer.body).encode()
    headers = {"Content-Length": str(len(body)), "Content-Type": "application/json; charset=utf-8", **answer.headers}
    if answer.status == 204:
        del headers["Content-Length"]
    lines = [f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
