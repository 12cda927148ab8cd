"""A whole Nightshift: `nightshift up` as its own process, a forge with the sample, the scripted model."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.client import Client
from demo.forge import Forge
from demo.model import MODELS, ScriptedModel
from demo.sample import plant
from nightshift.machines.local import MARK, machine_name
from nightshift.models import ItemKind

ROOT = Path(__file__).parents[2]
OWNER, NAME = "acme", "tidytime"
REPOSITORY = f"{OWNER}/{NAME}"
PATIENCE = 90.0
"""Seconds after which a condition that has not come is called a failure."""

type Session = dict[str, Any]


@dataclass
class World:
    client: Client
    forge: Forge
    model: ScriptedModel
    server: subprocess.Popen[bytes]
    data: Path

    async def until(self, id: str, done: Callable[[Session], bool]) -> Session:
        """The session, once it is so. Fails after PATIENCE with what it last was."""
        session: Session = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while not done(session := await self.client.session(id)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            log = self.data / "machines" / machine_name(id) / "worker.log"
            tail = log.read_text("utf-8")[-2000:] if log.exists() else "no worker log"
            pytest.fail(f"it never came; last: {session}\n{tail}")
        return session

    async def answered(self, id: str) -> Session:
        """The session, once it has answered what its log holds by now; its header may not tell of that yet."""
        seq = asked = 0
        while page := (await self.client.items(id, seq)).items:
            seq = page[-1].seq
            asked = max([asked, *(item.seq for item in page if item.kind is ItemKind.USER_MESSAGE)])
        return await self.until(id, lambda it: it["answered_seq"] >= asked and it["phase"] in ("waiting", "stopped"))

    async def pulls(self) -> int:
        return len(await self.forge.pull_requests(OWNER, NAME))

    def processes(self, id: str) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter(["name", "cmdline"]):  # which may go while it is looked at
            try:
                if process.environ().get(MARK) == machine_name(id) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def worker(self, id: str) -> psutil.Process:
        (found,) = [each for each in self.processes(id) if "worker" in each.info["cmdline"]]
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def whole(folder: Path, **settings: str) -> AsyncGenerator[World]:
    """Everything running; afterwards nothing is. `settings` are environment variables of the server."""
    forge, model = Forge(folder / "forge"), ScriptedModel()
    await forge.start()
    await model.start()
    await plant(forge)
    port = free_port()
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
        "OPENAI_BASE_URL": model.url,
        "OPENAI_API_KEY": "any",
        "NIGHTSHIFT_MODEL": MODELS[0],
        "GITHUB_TOKEN": forge.add_token("agent"),
        "GITHUB_API_URL": forge.api_url,
        "NIGHTSHIFT_POLL": "0.2",
        "NIGHTSHIFT_SILENCE": "6",
        "PYTHONWARNINGS": "default",
        **settings,
    }
    data = folder / "var"
    log = (folder / "server.log").open("wb")
    command = [sys.executable, "-m", "cli", "up", "--port", str(port), "--data", str(data)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log)
    try:
        assert server.stdout is not None
        line = await asyncio.to_thread(server.stdout.readline)
        assert b"Nightshift is on" in line, (folder / "server.log").read_text("utf-8")
        async with Client(f"http://127.0.0.1:{port}") as client:
            yield World(client, forge, model, server, data)
    finally:
        server.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait)
        if server.stdout is not None:
            server.stdout.close()
        log.close()
        await model.stop()
        await forge.stop()
    assert server.returncode == 0, (folder / "server.log").read_text("utf-8")
    left = [each for each in psutil.process_iter(["cmdline"]) if str(data) in " ".join(each.info["cmdline"] or [])]
    assert left == []


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with whole(tmp_path) as it:
        yield it
