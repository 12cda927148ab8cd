"""A workbench, and servers that run on it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nightshift.mcp import parse
from nightshift.models import GitHubToken, NewItem
from tests.worker.conftest import NO_SANDBOX, configuration, sandboxed, until, workbench
from worker import process
from worker.credentials import Tokens
from worker.guard import Guard
from worker.masking import Secrets
from worker.mcp import Servers
from worker.sandbox import Sandbox
from worker.tools import Output, Toolset, Workbench

ODD = Path(__file__).parent / "odd.py"
KEY = {"NIGHTSHIFT_MCP_SECRET_KEY": "the-key-of-the-server"}


def odd(folder: Path, *how: str, **entry: Any) -> dict[str, Any]:
    """The entry of a server that does what it should not. A sandbox shows it nothing but its machine's folder, and
    another user has no use for this Python."""
    shutil.copy(ODD, folder)
    env = {"KEY": "${NIGHTSHIFT_MCP_SECRET_KEY}"}
    return {
        "command": process.PYTHON[0],
        "args": ["-S", str(folder / ODD.name), str(folder), *how],
        "env": env,
        **entry,
    }


class Rig:
    def __init__(self, bench: Workbench, toolset: Toolset, notices: list[NewItem], run: asyncio.Task[None]) -> None:
        self.bench, self.toolset, self.notices, self.run = bench, toolset, notices, run
        self.calls = 0

    async def use(self, name: str, **arguments: Any) -> Output:
        self.calls += 1
        tool = self.toolset.get(name)
        assert tool, f"{name} is none of {self.toolset.names}"
        return await tool(json.dumps(arguments), self.bench.for_call(1, f"i{self.calls}", f"c{self.calls}"))


@asynccontextmanager
async def running(
    folder: Path, servers: dict[str, Any], sandbox: Sandbox = NO_SANDBOX, guard: Guard | None = None
) -> AsyncGenerator[Rig]:
    """The servers of this configuration, before the first turn."""

    async def fetch(repository: str, renew: bool) -> GitHubToken:
        raise NotImplementedError

    async def append(item: NewItem) -> None:
        notices.append(item)

    notices: list[NewItem] = []
    config = configuration(mcp=parse(json.dumps({"mcpServers": servers}), KEY))
    secrets = Secrets(*KEY.values())
    async with workbench(folder, config, Tokens(fetch, secrets.add), secrets, sandbox) as bench:
        guard = guard or Guard(None, folder)
        watching = asyncio.create_task(guard.run(process.CALL_MARK))
        bench = replace(bench, guard=guard)
        others = Servers(config, bench, append)
        run = asyncio.create_task(others.run())
        try:
            yield Rig(bench, Toolset([], others), notices, run)
        finally:
            run.cancel()
            watching.cancel()
            await asyncio.wait([run, watching])
            await until(lambda: not process.marked(process.TOOLS_MARK, str(folder)))  # a sandbox ends a moment later


@pytest_asyncio.fixture(params=["free", "sandboxed"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Rig]:
    """One odd server, up."""
    monkeypatch.setenv("SOME_TOKEN", "not for servers")
    sandbox = sandboxed(tmp_path) if request.param == "sandboxed" else NO_SANDBOX
    async with running(tmp_path, {"odd": odd(tmp_path)}, sandbox) as rig:
        await rig.toolset.renew()
        yield rig
