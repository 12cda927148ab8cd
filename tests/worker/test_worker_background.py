"""Processes that go on between calls."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from pathlib import Path

import pytest

from nightshift.models import ItemKind
from tests.worker.conftest import NO_SANDBOX, SECRET, Machine, configuration, use, workbench
from tests.worker.controlplane import ControlPlane
from worker import background, process
from worker.credentials import Tokens
from worker.masking import Secrets
from worker.tools import Workbench

PYTHON = shlex.quote(sys.executable)


async def start(bench: Workbench, command: str) -> str:
    return (await use(bench, "shell", command=command, background=True)).text


async def look(bench: Workbench, action: str = "output", id: str | None = "bg1", **arguments: object) -> str:
    return (await use(bench, "background", action=action, id=id, **arguments)).text


async def test_a_server_serves_the_next_calls(bench: Workbench) -> None:
    await use(bench, "shell", command="mkdir site; cd site; echo hello > index.html; export NAME=kept")
    server = (
        "import http.server as h, os; s = h.ThreadingHTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler);"
        "print(os.environ['NAME'], 'port', s.server_port, flush=True); s.serve_forever()"
    )
    begun = await start(bench, f'exec {PYTHON} -c "{server}"')
    port = re.search(r"kept port (\d+)\n\[bg1 has been running", begun)
    assert port, begun
    fetched = await use(bench, "shell", command=f"curl -s http://127.0.0.1:{port[1]}/")
    assert fetched.text.startswith("hello\n")
    assert '"GET / HTTP/1.1" 200' in await look(bench)
    assert "[bg1 has been running" in await look(bench, wait_seconds=0)
    assert re.fullmatch(r"bg1  has been running for \d+ s  \$ exec .*", await look(bench, "list", None))
    assert "was stopped by you" in await look(bench, "stop")
    assert process.marked(process.TOOLS_MARK, str(bench.folder)) == []
    assert "was stopped by you" in await look(bench, "list", None)
    assert "was stopped by you" in await look(bench)


async def test_what_fails_at_once_is_told_at_once(bench: Workbench) -> None:
    output = await use(bench, "shell", command="echo no such thing >&2; exit 3", background=True)
    assert output.is_error
    assert output.text.startswith("no such thing\n[bg1 ended by itself, exit code 3; its output goes to ")
    assert "bg1 ended by itself, exit code 3" in await look(bench)


async def test_input_is_given_and_ended(bench: Workbench) -> None:
    await start(bench, 'while read -r line; do echo "got $line"; done; echo end of input')
    assert (await look(bench, "input", text="one\ntwo\n")).startswith("got one\ngot two\n[bg1 has been running")
    assert (await look(bench, "input", text=None, wait_seconds=20)).startswith("end of input\n")
    assert "ended by itself, exit code 0" in await look(bench)
    refused = await use(bench, "background", action="input", id="bg1", text="more")
    assert refused.is_error


async def test_output_is_read_once_or_from_where_one_likes(bench: Workbench) -> None:
    await start(bench, "echo 123456789; read -r x; echo abc; read -r x")
    assert "bytes 10 to 10" in await look(bench, wait_seconds=0)
    assert (await look(bench, "input", text="\n")).startswith("abc\n[bg1")
    assert (await look(bench, offset=5, wait_seconds=0)).startswith("6789\nabc\n[bg1")
    kept = await use(bench, "shell", command=f"cat {bench.outputs.path}/bg1.txt")
    assert kept.text.startswith("123456789\nabc\n")


async def test_waiting_ends_with_the_first_output(bench: Workbench) -> None:
    await start(bench, f"until [ -e {bench.folder}/go ]; do sleep 0.02; done; echo here; sleep 1000")
    waiting = asyncio.create_task(look(bench, wait_seconds=600))
    (bench.folder / "go").touch()
    assert (await waiting).startswith("here\n")


async def test_secrets_do_not_come_through(bench: Workbench) -> None:
    await start(bench, f"printf %s {SECRET[:5]}; sleep 0.1; echo {SECRET[5:]}; sleep 1000")
    printed = await look(bench)
    await bench.background.stop_all("enough")
    assert SECRET not in printed
    assert SECRET.encode() not in (bench.outputs.path / "bg1.txt").read_bytes()


async def test_an_unknown_one_and_too_many(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await look(bench, "list", None) == "[no background processes]"
    assert "There is no background process 'bg7'. There are: none." in await look(bench, id="bg7")
    monkeypatch.setattr(background, "MOST", 2)
    await start(bench, "sleep 1000")
    await start(bench, "sleep 1000")
    assert "2 processes run in the background already" in await start(bench, "sleep 1000")
    await look(bench, "stop", "bg1")
    assert "[bg3 has been running" in await start(bench, "sleep 1000")


async def test_after_a_restart_of_the_worker_they_are_said_to_have_ended(tmp_path: Path) -> None:
    arguments = (
        tmp_path / "home",
        configuration(),
        Tokens(lambda repository, renew: asyncio.Future(), lambda token: None),
        Secrets(),
    )
    async with workbench(*arguments) as bench:
        await start(bench, "echo one; exit 0")
        await start(bench, "echo two; sleep 1000")
        record = (bench.outputs.path / "bg2.json").read_bytes()
    async with workbench(*arguments) as bench:
        assert await look(bench, "list", None) == "[no background processes]", "their end was seen"
    (tmp_path / "home" / "outputs" / "bg2.json").write_bytes(record)  # as a killed worker leaves it
    (tmp_path / "home" / "outputs" / "bg3.json").write_bytes(b"not JSON")
    async with workbench(*arguments, sandbox=NO_SANDBOX) as bench:
        assert await look(bench, "list", None) == "bg2  ended when the worker was restarted  $ echo two; sleep 1000"
        assert "bg2 ended when the machine or the worker was restarted" in await look(bench, id="bg2")
        assert "[bg4 has been running" in await start(bench, "sleep 1000")


async def test_they_end_with_the_worker_and_with_the_users_interrupt(plane: ControlPlane, machine: Machine) -> None:
    sleep = '!call shell {"command": "sleep 1000", "background": true}\n'
    await machine.start()
    await plane.answered(await plane.say(f"{sleep}!say started"))
    assert machine.processes()
    turn = await plane.say("!shell sleep 1001")
    await plane.until(lambda: any(item.turn == turn and item.call_id for item in plane.items))
    await plane.interrupt()
    await plane.answered(turn)
    assert machine.processes() == []
    await plane.answered(await plane.say(f"{sleep}!say started"))
    assert machine.processes()
    await machine.stop()
    assert machine.processes() == []
    await machine.start()
    await plane.answered(await plane.say('!call background {"action": "list"}\n!say listed'))
    listed = plane.of(ItemKind.TOOL_OUTPUT)[-1].text
    assert listed == "bg2  ended when the worker was restarted  $ sleep 1000"
