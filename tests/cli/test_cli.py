"""The command against the real API on a real store. What orchestration and worker would write, the tests write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner, Result
from starlette.types import Receive, Scope, Send

from api.app import create_api
from api.doorbell import current_doorbell
from api.rates import SESSIONS, Rates
from cli.client import ApiError, Client
from cli.main import main
from nightshift.blobs import name_of
from nightshift.models import MAX_FILE, FileRef, Item, ItemKind, NewItem, Phase
from nightshift.services import Services, build
from nightshift.settings import Settings
from tests.api.house import Bells


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Server:
    url: str
    services: Services
    clock: Clock

    async def run(self, *arguments: str | Path) -> Result:
        """The command's own loop runs in a thread of its own, as the server is here."""
        environment = {"NIGHTSHIFT_URL": self.url, "NIGHTSHIFT_API_KEY": ""}
        return await asyncio.to_thread(CliRunner().invoke, main, [str(each) for each in arguments], env=environment)

    async def sessions(self) -> list[Any]:
        return (await self.services.log.sessions(10))[0]

    async def items(self, id: str) -> list[Item]:
        return await self.services.log.items(id, 0, 100)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    services = build(Settings(data_dir=tmp_path / "data", signing_key="k" * 32, local=True))
    clock = Clock()
    api = create_api(lambda: services, Rates(clock))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        current_doorbell.set(Bells())
        await api(scope, receive, send)

    serving = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none", lifespan="off"))
    task = asyncio.create_task(serving.serve())
    while not serving.started:
        await asyncio.sleep(0.02)
    yield Server(f"http://127.0.0.1:{serving.servers[0].sockets[0].getsockname()[1]}", services, clock)
    serving.should_exit = True
    await task
    await services.close()


async def test_run_brings_files_and_the_session_begins_with_the_last(server: Server, tmp_path: Path):
    notes, picture = tmp_path / "not\u00e9s.txt", tmp_path / "a.png"
    notes.write_text("one")
    picture.write_bytes(b"\x89PNG")
    done = await server.run("run", "Look", "--file", notes, "--file", picture, "--no-follow")
    assert done.exit_code == 0, done.output
    [session] = await server.sessions()
    [asked] = await server.items(session.id)
    assert [(file.filename, file.content_type, file.size) for file in asked.files] == [
        ("not\u00e9s.txt", "text/plain", 3),
        ("a.png", "image/png", 4),
    ]
    assert await server.services.blobs.list(session.id) == sorted(map(name_of, (b"one", b"\x89PNG")))
    sent = await server.run("send", session.id, "And this", "--file", notes, "--no-follow")
    assert sent.exit_code == 0, sent.output
    assert (await server.items(session.id))[-1].files == asked.files[:1]


async def test_what_cannot_be_sent_is_said_before_anything_is(server: Server, tmp_path: Path):
    large, odd = tmp_path / "large.bin", tmp_path / "a\\b.txt"
    with large.open("wb") as file:
        file.truncate(MAX_FILE + 1)
    odd.write_text("x")
    for path, told in (
        (large, "a file may have 25"),
        (odd, "rename it"),
        (tmp_path, "is a directory"),
        (tmp_path / "absent", "does not exist"),
    ):
        refused = await server.run("run", "Look", "--file", path)
        assert refused.exit_code == 2
        assert told in " ".join(refused.output.replace("\u2502", " ").split()), refused.output
    many = [argument for _ in range(21) for argument in ("--file", odd.with_name("ok.txt"))]
    odd.with_name("ok.txt").write_text("x")
    assert "a message takes 20" in (await server.run("run", "Look", *many)).output
    assert await server.sessions() == []


async def _answered(server: Server, *contents: tuple[str, bytes]) -> str:
    """A session whose agent sent these files."""
    await server.run("run", "Draw", "--no-follow")
    [session] = await server.sessions()
    log, refs = server.services.log, list[FileRef]()
    for filename, content in contents:
        await server.services.blobs.put(session.id, name_of(content), content, "text/plain")
        refs.append(FileRef(name=name_of(content), filename=filename, size=len(content)))
    said = await log.append_item(session.id, NewItem(kind=ItemKind.ASSISTANT_MESSAGE, text="Here", files=refs))
    changes = {"phase": Phase.WAITING, "last_message_seq": 1, "answered_seq": 1, "item_seq": said.seq}
    await log.project(session.id, 1, changes)
    return session.id


async def test_show_keeps_what_the_agent_sent_and_overwrites_nothing(server: Server, tmp_path: Path):
    id = await _answered(server, ("plan.txt", b"first"), ("plan.txt", b"second"), ("..", b"third"))
    shown = await server.run("show", id)
    assert "file plan.txt (1 kB)" in shown.output
    folder = tmp_path / "new" / "folder"
    for _ in range(2):
        done = await server.run("show", id, "--save", folder)
        assert done.exit_code == 0, done.output
    other = f"plan-{name_of(b'second')[:12]}.txt"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert kept == {"plan.txt": b"first", other: b"second", name_of(b"third"): b"third"}
    (folder / other).write_bytes(b"somebody's")
    assert "choose another folder" in (await server.run("show", id, "--save", folder)).output
    assert (folder / other).read_bytes() == b"somebody's"


async def test_open_opens_the_sessions_page(server: Server, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    id = await _answered(server)
    done = await server.run("open", id)
    assert opened == [f"{server.url}/sessions/{id}"] == [done.output.strip()]
    absent = await server.run("open", "s-absent")
    assert absent.exit_code == 1
    assert "There is no session 's-absent'" in absent.output
    assert len(opened) == 1


async def test_a_client_waits_as_long_as_the_server_asks_and_says_so(server: Server):
    told: list[str] = []
    async with Client(server.url, sleep=server.clock.sleep, tell=told.append) as client:
        for number in range(SESSIONS.burst + 2):
            await client.start(f"task {number}", None, None)
    assert len(told) == 2
    assert told[0].startswith("429 Too many requests")
    assert told[0].endswith("Waiting 5 s.")


async def test_a_client_gives_up_in_the_end(server: Server):
    async def sleepless(seconds: float) -> None:
        """Time does not pass for the server."""

    async with Client(server.url, sleep=sleepless) as client:
        for number in range(SESSIONS.burst):
            await client.start(f"task {number}", None, None)
        with pytest.raises(ApiError, match="429 Too many requests"):
            await client.start("one more", None, None)
