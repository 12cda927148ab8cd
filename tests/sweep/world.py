"""A whole Nightshift for one run: forge and model live here; `up` is a process, started again after each kill."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import httpx
import psutil

from demo.forge import Forge
from demo.model import MODELS, ScriptedModel
from demo.sample import plant
from nightshift.machines.local import MARK

ROOT = Path(__file__).parents[2]
INJECT = Path(__file__).parent / "inject"
QUICK = {
    "NIGHTSHIFT_IDLE": "1",
    "NIGHTSHIFT_POLL": "0.5",
    "NIGHTSHIFT_SILENCE": "3",
    "NIGHTSHIFT_STOP": "3",
    "NIGHTSHIFT_START": "30",
}

type Mode = Literal["host", "worker", "both", "none"]
type Json = dict[str, Any]


class NeverCame(Exception):
    """What should have come has not, or was refused."""


class Died(Exception):
    """`up` ended although nobody killed it."""


@dataclass(frozen=True)
class Plan:
    """Whom to kill, right after which points. `none` kills nobody and tells what points there are."""

    mode: Mode
    at: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return "-".join((self.mode, *map(str, self.at)))


@dataclass(frozen=True)
class World:
    """What a scenario is played in and looked at with."""

    folder: Path
    client: httpx.AsyncClient
    forge: Forge
    model: ScriptedModel
    secrets: dict[str, str]

    @property
    def data(self) -> Path:
        return self.folder / "var"

    def trace(self) -> list[str]:
        path = self.folder / "points" / "trace"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    async def tell(self, method: str, path: str, body: Json | None = None) -> Json:
        """The answer. Raises NeverCame if it is a refusal."""
        answer = await self.ask(method, path, body)
        if answer.is_error:
            raise NeverCame(f"{method} {path} was refused: {answer.status_code} {answer.text}")
        return dict(answer.json())

    async def ask(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        """As a patient client asks: again, with the same key, until the server says something sensible."""
        headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}
        while True:
            try:
                answer = await self.client.request(method, path, json=body, headers=headers)
                if answer.status_code < 500:
                    return answer
            except httpx.TransportError:
                pass  # killed at this moment: it will be back
            await asyncio.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """Whatever lives and belongs to a machine of this run."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # gone meanwhile, or not ours
                environment = process.environ()
                ours = MARK in environment and environment.get("HOME", "").startswith(str(self.data))
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def cut_machines(self) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()


@asynccontextmanager
async def whole(plan: Plan, folder: Path) -> AsyncGenerator[World]:
    """Everything running, and nothing afterwards. Raises a group with Died."""
    forge, model = Forge(folder / "forge"), ScriptedModel()
    (folder / "points").mkdir(parents=True)
    await forge.start()
    await model.start()
    try:
        await plant(forge)
        port = _free_port()
        secrets = {
            "GITHUB_TOKEN": forge.add_token("agent"),
            "OPENAI_API_KEY": f"sk-{uuid4().hex}",
            "NIGHTSHIFT_SIGNING_KEY": uuid4().hex + uuid4().hex,
        }
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment |= secrets | QUICK
        environment |= {
            "OPENAI_BASE_URL": model.url,
            "NIGHTSHIFT_MODEL": MODELS[0],
            "GITHUB_API_URL": forge.api_url,
            "PYTHONPATH": str(INJECT),
            "SWEEP_FOLDER": str(folder / "points"),
            "SWEEP_MODE": plan.mode,
            "SWEEP_AT": ",".join(map(str, plan.at)),
        }
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=30) as client, asyncio.TaskGroup() as together:
            world = World(folder, client, forge, model, secrets)
            up = together.create_task(_keep_up(world, port, environment, plan))
            try:
                yield world
            finally:
                up.cancel()
                await asyncio.wait({up})
                world.cut_machines()
    finally:
        await model.stop()
        await forge.stop()


async def _keep_up(world: World, port: int, environment: dict[str, str], plan: Plan) -> None:
    """`up`, and `up` again on the same data each time it was killed. Raises Died if it ended by itself."""
    command = [sys.executable, "-m", "cli", "up", "--port", str(port), "--data", str(world.data)]
    kills_left = len(plan.at)
    with (world.folder / "server.log").open("ab") as log:
        while True:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=log
            )
            try:
                code = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            if code != -signal.SIGKILL or not kills_left:
                raise Died(f"`up` ended by itself with {code}; see server.log")
            kills_left -= 1
            if plan.mode == "both":  # the power is gone: with the worker, its tools
                world.cut_machines()


def _free_port() -> int:
    """Below the ports that the system gives to clients: it must still be free after a restart."""
    while True:
        port = random.randint(12_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue  # taken
