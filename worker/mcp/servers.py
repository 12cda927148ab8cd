"""All configured servers: started side by side, looked at when a turn begins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nightshift.models import ItemKind, NewItem, WorkerConfig
from worker.mcp.server import Server
from worker.mcp.tools import McpTool
from worker.tools import AnyTool, Workbench

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that a turn waits for servers which are not up, or do not answer; what they have joins the next turn."""
MOST_TOOLS = 100
"""Model servers take 128, the agent's own included."""


class Servers:
    """The agent's other tools."""

    def __init__(self, config: WorkerConfig, bench: Workbench, append: Callable[[NewItem], Awaitable[object]]) -> None:
        self._generation = config.generation
        self._servers = [
            Server(name, entry, config.mcp.secrets, bench, self._broken)
            for name, entry in sorted(config.mcp.servers.items())
        ]
        self._append = append
        for chatty in ("mcp", "client"):
            logging.getLogger(chatty).setLevel(logging.CRITICAL)

    async def run(self) -> None:
        """Keep them up, for ever. Whoever cancels this ends them."""
        async with asyncio.TaskGroup() as together:
            for server in self._servers:
                together.create_task(server.run())

    async def tools(self) -> list[AnyTool]:
        await asyncio.gather(*(self._look(server) for server in self._servers))
        found: list[AnyTool] = []
        for server in self._servers:
            wanted = server.entry.tools
            listed = sorted((t for t in server.listed if wanted is None or t.name in wanted), key=lambda t: t.name)
            found += [
                McpTool(server, each, "" if number else server.instructions) for number, each in enumerate(listed)
            ]
        if len(found) > MOST_TOOLS:
            text = f"The MCP servers have {len(found)} tools, and the agent gets {MOST_TOOLS}. Choose with `tools`."
            await self._tell("too-many", text)
        return found[:MOST_TOOLS]

    async def _look(self, server: Server) -> None:
        """At what it has now. A server that is slow, or on its way again, has what it had."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await server.settled()
                await server.look()
                await server.settled()

    async def _broken(self, name: str, reason: str) -> None:
        await self._tell(name, f"The MCP server {name} does not work: {reason}")

    async def _tell(self, subject: str, text: str) -> None:
        """The user, once for each start of the machine."""
        id = f"mcp_failed.{subject}.g{self._generation}"
        await self._append(NewItem(id=id, kind=ItemKind.NOTICE, code="mcp_failed", level="warning", text=text))
