"""One server: started, connected, and started again when it is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
from mcp import Client, MCPError
from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST, CallToolResult, Implementation
from mcp.types import Tool as Listed

from nightshift.errors import ModelRetry, Retryable
from nightshift.models import McpServer
from worker.mcp.connections import LastWords, mark, reach
from worker.tools import Workbench

logger = logging.getLogger(__name__)

START_SECONDS = 120.0
"""The first start of a program may have to install it first. Nothing waits as long as this."""
STARTS = 4
"""So many in a row, none of which lasted for STEADY seconds, and the server counts as broken."""
STEADY = 60.0
BACKOFF = 0.5
"""Seconds before the second start; twice as long before each further one, up to LONGEST_PAUSE."""
LONGEST_PAUSE = 60.0
PAGES = 20
LONGEST = 3600.0
"""Seconds of a call, whatever progress it tells of."""
LOST = (anyio.ClosedResourceError, anyio.BrokenResourceError)
LEAVE_SECONDS = 0.5
"""How long a cancelled call may take to tell the server so."""
RETURN_SECONDS = 10.0
"""How long a call waits for a server that is being started again."""

type Broken = Callable[[str, str], Awaitable[None]]
"""Told once for each time that a server counts as broken: its name, and why."""


class Server:
    def __init__(
        self, name: str, entry: McpServer, secrets: Mapping[str, str], bench: Workbench, broken: Broken
    ) -> None:
        self.name = name
        self.entry = entry
        self.listed: list[Listed] = []
        """As of the last look; empty while it was never up or counts as broken."""
        self.instructions = ""
        self._broken = broken
        self._secrets = secrets
        self._bench = bench
        self._client: Client | None = None
        self._lost = asyncio.Event()
        self._settled = asyncio.Event()
        """It is up, or not worth waiting for."""

    async def run(self) -> None:
        """Keep it up, for ever. Whoever cancels this ends the server."""
        starts = 0
        while True:
            begun = time.monotonic()
            reason = await self._live()
            was_up = self._client is not None or self._lost.is_set()
            self._client = None
            starts = 1 if time.monotonic() - begun > STEADY else starts + 1
            logger.warning("MCP server %s, start %d: %s", self.name, starts, reason)
            if was_up and starts < STARTS:
                self._settled.clear()  # it will soon be back
            else:
                self._settled.set()
            if starts == STARTS:
                self.listed = []
                await self._broken(self.name, reason)
            await asyncio.sleep(min(BACKOFF * 2 ** (starts - 1), LONGEST_PAUSE))

    async def settled(self) -> None:
        await self._settled.wait()

    async def look(self) -> None:
        """Ask for its tools again. Where that fails the last ones stay: they are in the prompt cache."""
        if client := self._client:
            try:
                self.listed = await _list(client)
            except (MCPError, ValueError, *LOST) as fault:
                self._is_lost(client, fault)
                logger.warning("MCP server %s does not list its tools: %s", self.name, fault)

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Cancelling it cancels the call. Raises ModelRetry if it was too slow or refused, Retryable if the server is
        not there."""
        client = await self._there()
        clock = asyncio.get_running_loop().time
        latest = clock() + LONGEST
        try:
            async with asyncio.timeout(self.entry.timeout) as limit:

                async def heard(progress: float, total: float | None, message: str | None) -> None:
                    if not limit.expired():
                        limit.reschedule(min(clock() + self.entry.timeout, latest))

                return await _leaving(client.call_tool(tool, arguments, progress_callback=heard))
        except TimeoutError:
            raise ModelRetry(
                f"The MCP server {self.name} gave no sign for {self.entry.timeout:g} s, its limit; the call was ended."
            ) from None
        except (MCPError, *LOST) as fault:
            if self._is_lost(client, fault):
                how = self._overran() or "ended"
                raise Retryable(
                    f"The MCP server {self.name} {how} during the call. It is started again; find out what the call"
                    " did before you repeat it."
                ) from fault
            raise ModelRetry(f"The MCP server {self.name} refused: {fault}") from fault

    async def _live(self) -> str:
        """From a start to its end. Returns why it ended."""
        self._lost.clear()
        if self._bench.guard:
            self._bench.guard.ended.pop(mark(self.name, self._bench), None)
        words = LastWords()
        try:
            async with reach(self.name, self.entry, self._secrets, self._bench) as (transport, words):
                async with asyncio.timeout(START_SECONDS) as limit:
                    async with Client(transport, client_info=Implementation(name="nightshift", version="1")) as client:
                        self.listed = await _list(client)
                        self.instructions = client.instructions or ""
                        self._client = client
                        self._settled.set()
                        limit.reschedule(None)
                        await self._lost.wait()
            reason = "it ended"
        except TimeoutError:
            reason = f"it did not start within {START_SECONDS:.0f} s"
        except Exception as fault:
            reason = _innermost(fault)
        reason = self._overran() or reason
        return f"{reason}\n{words.text}".strip()

    def _overran(self) -> str:
        """Why the guard ended it, if it did."""
        guard = self._bench.guard
        return guard.ended.get(mark(self.name, self._bench), "") if guard else ""

    async def _there(self) -> Client:
        with suppress(TimeoutError):
            async with asyncio.timeout(RETURN_SECONDS):
                await self._settled.wait()
        if not self._client:
            raise Retryable(f"The MCP server {self.name} is not up. Go on without it.")
        return self._client

    def _is_lost(self, client: Client, fault: BaseException) -> bool:
        """Whether this fault means that the connection is lost; then it is made anew."""
        gone = not isinstance(fault, MCPError)
        if isinstance(fault, MCPError) and fault.code in (CONNECTION_CLOSED, INVALID_REQUEST):
            # Servers use these codes for other things, too.
            words = fault.message.lower()
            gone = words == "connection closed" or bool(self.entry.url and "session" in words)
        if gone and client is self._client:
            self._settled.clear()
            self._client = None
            self._lost.set()
        return gone


async def _leaving[T](call: Coroutine[Any, Any, T]) -> T:
    """Await the call. Whoever cancels this leaves soon, though the server may not read that its call is cancelled."""
    under_way = asyncio.create_task(call)
    try:
        return await asyncio.shield(under_way)
    except asyncio.CancelledError:
        under_way.cancel()
        await asyncio.wait({under_way}, timeout=LEAVE_SECONDS)
        raise


async def _list(client: Client) -> list[Listed]:
    found: list[Listed] = []
    cursor: str | None = None
    for _ in range(PAGES):
        page = await client.list_tools(cursor=cursor, cache_mode="refresh")
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _innermost(fault: BaseException) -> str:
    """Task groups wrap what went wrong, perhaps many times."""
    inner: Sequence[BaseException] = getattr(fault, "exceptions", ())
    if inner:
        return _innermost(inner[0])
    return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
