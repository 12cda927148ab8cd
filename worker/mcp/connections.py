"""The ways to reach a server: a program of this machine over its stdin and stdout, or a URL."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx2
from mcp.client import Transport
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from nightshift.models import McpServer
from worker import process
from worker.sandbox import Sandbox
from worker.tools import Workbench
from worker.tools.workbench import INHERITED

LAST_WORDS = 2000
"""Bytes of a program's stderr that are kept."""
CONNECT_SECONDS = 30.0
SECRET = re.compile(r"\$\{(\w+)\}")

type Reached = AbstractAsyncContextManager[tuple[Transport, LastWords]]


class LastWords(asyncio.Protocol):
    """The end of what a program prints on its stderr."""

    def __init__(self) -> None:
        self._kept = b""

    def data_received(self, data: bytes) -> None:
        self._kept = (self._kept + data)[-LAST_WORDS:]

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace").strip()


def reach(name: str, server: McpServer, secrets: Mapping[str, str], bench: Workbench) -> Reached:
    """The transport, to be entered, and what the server says besides the protocol. A program runs where tools do, and
    nothing of it is left when this is left."""

    def filled(values: Mapping[str, str]) -> dict[str, str]:
        return {name: SECRET.sub(lambda found: secrets[found[1]], value) for name, value in values.items()}

    if server.url:
        return _elsewhere(server.url, filled(server.headers), server.timeout)
    own = {name: value for name, value in bench.environment.items() if INHERITED.match(name)}
    marks = {process.TOOLS_MARK: str(bench.folder), process.CALL_MARK: mark(name, bench)}
    command, *args = bench.sandbox.wrap([server.command or "", *server.args], bench.workspace / (server.cwd or "."))
    parameters = StdioServerParameters(
        command=command,
        args=args,
        env={**own, **filled(server.env), **marks},
        encoding_error_handler="replace",
    )
    return _program(parameters, bench.sandbox, marks[process.CALL_MARK])


def mark(name: str, bench: Workbench) -> str:
    """Of a server's processes."""
    return f"{bench.folder}:mcp:{name}"


@asynccontextmanager
async def _program(
    parameters: StdioServerParameters, sandbox: Sandbox, mark: str
) -> AsyncGenerator[tuple[Transport, LastWords]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as errors:
        transport, words = await asyncio.get_running_loop().connect_read_pipe(LastWords, os.fdopen(reading, "rb", 0))
        try:
            yield stdio_client(parameters, errlog=errors), words
        finally:
            transport.close()
            # The protocol's library ends the program and its group. What left the group, or is another user's, is ours.
            await asyncio.shield(process.kill(sandbox, process.CALL_MARK, mark))


@asynccontextmanager
async def _elsewhere(
    url: str, headers: Mapping[str, str], seconds: float
) -> AsyncGenerator[tuple[Transport, LastWords]]:
    """A call may be silent for as long as its own limit says."""
    timeout = httpx2.Timeout(CONNECT_SECONDS, read=seconds + CONNECT_SECONDS)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout) as http:
        yield streamable_http_client(url, http_client=http), LastWords()
