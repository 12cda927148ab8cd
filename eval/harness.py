"""One task after the other through the whole product: control plane, machine, worker, forge, pull request."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.client import Client
from cli.up import prepare_environment, running
from demo.forge import Forge
from demo.model import MODELS, ScriptedModel
from eval.task import OWNER, Task

PATIENCE = 1800.0
"""Seconds that a task may take."""
AT_ONCE = 2


@dataclass(frozen=True)
class Result:
    task: str
    problem: str | None
    """Why it is not solved."""
    seconds: float
    calls: int
    cached: float
    """Share of the input tokens."""
    cost_usd: float | None

    @property
    def solved(self) -> bool:
        return self.problem is None


@dataclass(frozen=True)
class House:
    """A Nightshift with a forge of its own."""

    client: Client
    forge: Forge

    async def solve(self, task: Task, patch: str | None) -> Result:
        """`patch` is what the scripted model does; None: a real model finds out itself."""
        await self.forge.create_repository(OWNER, task.name, task.folder / "repository")
        self.forge.create_issue(OWNER, task.name, *task.issue)
        title, body = task.issue
        message = f"Fix issue #1 of {task.repository} and open a pull request.\n\n{title}\n\n{body}"
        clock = asyncio.get_running_loop().time
        begun = clock()
        started = await self.client.start(task.script(patch) if patch else message, task.repository, None)
        problem, session = None, started
        try:
            async with asyncio.timeout(PATIENCE):
                while not _over(session := await self.client.session(started["id"])):  # noqa: ASYNC110
                    await asyncio.sleep(0.5)
        except TimeoutError:
            problem = f"no answer within {PATIENCE:.0f} s"
        seconds = clock() - begun
        tokens: dict[str, int] = session["usage"]["tokens"]
        problem = problem or await self._verdict(task)
        share = tokens["cached"] / tokens["input"] if tokens["input"] else 0.0
        return Result(task.name, problem, seconds, tokens["calls"], share, session["usage"]["cost_usd"])

    async def _verdict(self, task: Task) -> str | None:
        pulls = await self.forge.pull_requests(OWNER, task.name)
        if not pulls:
            return "no pull request"
        bare = self.forge.state.git(task.repository).path
        return await asyncio.to_thread(task.verdict, bare, pulls[-1][1].head_ref)


async def run(tasks: Sequence[Task], patch: str | None, folder: Path) -> AsyncGenerator[Result]:
    """Results as they come. `patch` names what the scripted model does; None: the model of the environment."""
    async with _house(folder, scripted=patch is not None) as house:
        free = asyncio.Semaphore(AT_ONCE)

        async def one(task: Task) -> Result:
            async with free:
                return await house.solve(task, patch)

        for result in asyncio.as_completed([asyncio.create_task(one(task)) for task in tasks]):
            yield await result


@asynccontextmanager
async def _house(folder: Path, *, scripted: bool) -> AsyncGenerator[House]:
    async with AsyncExitStack() as stack:
        if scripted:
            model = ScriptedModel()
            await model.start()
            stack.push_async_callback(model.stop)
            os.environ |= {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "any", "NIGHTSHIFT_MODEL": MODELS[0]}
        forge = Forge(folder / "forge")
        await forge.start()
        stack.push_async_callback(forge.stop)
        os.environ |= {"GITHUB_TOKEN": forge.add_token("agent"), "GITHUB_API_URL": forge.api_url}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        prepare_environment(port, folder / "var")
        await stack.enter_async_context(running(port))
        yield House(await stack.enter_async_context(Client(f"http://127.0.0.1:{port}")), forge)


def _over(session: dict[str, Any]) -> bool:
    answered = 0 < session["last_message_seq"] <= session["answered_seq"]
    return session["phase"] == "failed" or (answered and session["phase"] in ("waiting", "stopped"))
