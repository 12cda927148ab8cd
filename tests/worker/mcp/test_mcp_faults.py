"""Servers that hang, die, leak, change and talk too much."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from mcp.shared import jsonrpc_dispatcher

from tests.worker.conftest import until
from tests.worker.mcp.conftest import KEY, Rig, odd, running
from worker import process
from worker.mcp import server as one
from worker.mcp import servers as all
from worker.mcp.tools import joined

SECRET = KEY["NIGHTSHIFT_MCP_SECRET_KEY"]


async def test_names_never_clash_and_suit_every_model(rig: Rig) -> None:
    assert "odd__echo" in rig.toolset.names
    changed = [name for name in rig.toolset.names if name.startswith(("odd__odd", "odd__xxx"))]
    assert len(changed) == 2
    assert all_fit(rig.toolset.names)
    assert joined("a", "b.c") != joined("a", "b/c")
    assert joined("a", "x" * 100) != joined("a", "x" * 101)


def all_fit(names: list[str]) -> bool:
    return not any(len(name) > 64 or set(name) - set(map(chr, range(45, 123))) for name in names)


async def test_a_server_gets_what_its_entry_names_and_no_more(rig: Rig) -> None:
    output = await rig.use("odd__env")
    environment = json.loads(output.text)
    assert environment["KEY"] == SECRET
    assert environment["PATH"].endswith(os.environ["PATH"])
    assert not [name for name in environment if "TOKEN" in name or name.startswith(("GIT_", "NIGHTSHIFT_MCP"))]


async def test_tools_that_only_look_may_run_side_by_side(rig: Rig) -> None:
    looking = [name for name in rig.toolset.names if (tool := rig.toolset.get(name)) and tool.reads]
    assert looking == ["odd__look", "odd__meet"]
    together = await asyncio.gather(rig.use("odd__meet"), rig.use("odd__meet"))
    assert [output.text for output in together] == ["met", "met"]


async def test_long_results_are_cut_and_kept_whole(rig: Rig) -> None:
    output = await rig.use("odd__big")
    assert len(output.text) < 31_000
    assert output.text.startswith("first xxx")
    assert output.text.endswith("xxx last")
    path = rig.bench.output_file().parent / "c1.txt"
    assert f"the whole output is in {path}" in output.text
    assert path.stat().st_size == 500_011


async def test_a_file_of_a_result_has_no_secrets(rig: Rig) -> None:
    await rig.use("odd__echo", text=f"{SECRET} " + "x" * 40_000)
    assert SECRET not in (rig.bench.output_file().parent / "c1.txt").read_text()


async def test_errors_are_for_the_model(rig: Rig) -> None:
    failed = await rig.use("odd__echo", text="an error")
    assert (failed.text, failed.is_error) == ("an error", True)
    refused = await rig.use("odd__refuse")
    assert (refused.text, refused.is_error) == ("The MCP server odd refused: no refuse today", True)
    wrong = await rig.use("odd__wrong")
    assert wrong.is_error
    assert "gave a result that is not valid" in wrong.text
    assert (await rig.use("odd__junk")).text == "after junk"
    tool = rig.toolset.get("odd__echo")
    assert tool
    assert (await tool("[1]", rig.bench)).text.startswith("The arguments of odd__echo are not valid")
    assert (await tool("{", rig.bench)).is_error


async def test_an_interrupted_call_is_cancelled_at_the_server(rig: Rig, tmp_path: Path) -> None:
    call = asyncio.create_task(rig.use("odd__never"))
    await until((tmp_path / "asked").exists)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until((tmp_path / "cancelled").exists)
    assert (tmp_path / "cancelled").read_text() == (tmp_path / "asked").read_text()
    assert (await rig.use("odd__echo", text="still there")).text == "still there"


async def test_a_call_without_a_sign_has_a_limit(tmp_path: Path) -> None:
    async with running(tmp_path, {"odd": odd(tmp_path, timeout=0.5)}) as rig:
        await rig.toolset.renew()
        output = await rig.use("odd__never")
        assert output.is_error
        assert "gave no sign for 0.5 s" in output.text
        await until((tmp_path / "cancelled").exists)
        assert (await rig.use("odd__steps", count=5, seconds=0.2)).text == "all steps"


async def test_a_server_that_dies_is_started_again(rig: Rig, tmp_path: Path) -> None:
    output = await rig.use("odd__die")
    assert output.is_error
    assert "ended during the call" in output.text
    assert (await rig.use("odd__echo", text="again")).text == "again"
    assert len((tmp_path / "starts").read_text().split()) == 2
    assert rig.notices == []


async def test_a_server_that_died_between_turns_is_back_for_the_next(rig: Rig, tmp_path: Path) -> None:
    before = rig.toolset.schemas
    for pid in process.marked(process.TOOLS_MARK, str(tmp_path)):
        with suppress(ProcessLookupError):  # a sandbox takes its processes with it
            os.kill(pid, signal.SIGKILL)
    await rig.toolset.renew()
    assert rig.toolset.schemas == before
    assert (await rig.use("odd__echo", text="again")).text == "again"


async def test_a_server_that_dies_too_often_is_broken_and_the_user_is_told_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one, "BACKOFF", 0.01)
    for _ in range(one.STARTS):
        assert (await rig.use("odd__die")).is_error
    await until(lambda: rig.notices)
    await rig.toolset.renew()
    assert [notice.code for notice in rig.notices] == ["mcp_failed"]
    assert "it hurts: " in rig.notices[0].text
    async with asyncio.timeout(10):
        while "odd__echo" not in rig.toolset.names:
            await rig.toolset.renew()
    assert (await rig.use("odd__echo", text="back")).text == "back"


async def test_servers_that_cannot_start_leave_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one, "BACKOFF", 0.01)
    servers = {
        "broken": odd(tmp_path, "broken"),
        "missing": {"command": "no-such-program"},
        "nobody": {"url": "http://127.0.0.1:9/mcp"},
        "odd": odd(tmp_path),
    }
    async with running(tmp_path, servers) as rig:
        await rig.toolset.renew()
        assert (await rig.use("odd__echo", text="fine")).text == "fine"
        await until(lambda: len(rig.notices) == 3)
        told = {notice.id.split(".")[1]: notice.text for notice in rig.notices}
        assert "cannot start" in told["broken"]
        assert "no-such-program" in told["missing"]
        assert "onnect" in told["nobody"]


async def test_a_slow_server_delays_no_turn_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all, "PATIENCE", 0.3)
    async with running(tmp_path, {"odd": odd(tmp_path), "slow": odd(tmp_path, "slow")}) as rig:
        async with asyncio.timeout(10):
            while "odd__echo" not in rig.toolset.names:
                await rig.toolset.renew()
        assert "slow__echo" not in rig.toolset.names
        (tmp_path / "go").touch()
        async with asyncio.timeout(10):
            while "slow__echo" not in rig.toolset.names:
                await rig.toolset.renew()


async def test_a_changed_list_waits_for_the_next_turn(rig: Rig) -> None:
    before = rig.toolset.schemas
    await rig.use("odd__grow")
    await rig.use("odd__echo", text="the notification is before this answer")
    assert rig.toolset.schemas is before
    await rig.toolset.renew()
    assert "odd__grown" in rig.toolset.names
    assert rig.toolset.schemas != before


async def test_a_server_that_does_not_listen_to_the_end_is_ended(tmp_path: Path) -> None:
    async with running(tmp_path, {"odd": odd(tmp_path, "stays")}) as rig:
        await rig.toolset.renew()
        assert rig.toolset.names


async def test_an_interrupt_does_not_wait_for_a_server_that_no_longer_reads(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonrpc_dispatcher, "_ABANDON_WRITE_TIMEOUT", 1000)  # of the library, for telling the server
    call = asyncio.create_task(rig.use("odd__deaf"))
    await until((tmp_path / "asked").exists)
    more = asyncio.create_task(rig.use("odd__echo", text="x" * 1_000_000))  # fills the pipe
    await asyncio.sleep(0)
    for each in (call, more):
        each.cancel()
    await asyncio.wait([call, more], timeout=60)
    assert call.cancelled()
    assert more.cancelled()


async def test_what_a_server_left_is_ended_with_it(rig: Rig, tmp_path: Path) -> None:
    await rig.use("odd__run", script="setsid sleep 1000 > /dev/null 2>&1 &")
    before = {*process.marked(process.CALL_MARK, f"{tmp_path}:mcp:odd")}
    assert len(before) >= 2
    await rig.use("odd__die")
    assert (await rig.use("odd__echo", text="again")).text == "again"
    assert not before & {*process.marked(process.CALL_MARK, f"{tmp_path}:mcp:odd")}
