"""What users were promised, on the whole product: real processes, real HTTP, real git, and real kills."""

from __future__ import annotations

import asyncio
import signal
from base64 import b64decode
from pathlib import Path

import httpx
import psutil

from nightshift.models import Item, ItemKind
from nightshift.telemetry import trace_of
from tests.e2e.conftest import REPOSITORY, World, whole
from tests.ingestion import ingestion

TASK = f"Fix {REPOSITORY}#1 and open a pull request."


async def items(world: World, id: str) -> list[Item]:
    found: list[Item] = []
    while page := (await world.client.items(id, found[-1].seq if found else 0)).items:
        found += page
    return found


def finals(found: list[Item]) -> list[str]:
    return [item.text for item in found if item.kind is ItemKind.ASSISTANT_MESSAGE and item.final]


def assert_whole(found: list[Item]) -> None:
    """No gap, no repeat, every tool call answered once."""
    assert [item.seq for item in found] == list(range(1, len(found) + 1))
    assert len({item.id for item in found}) == len(found)
    calls = [item.call_id for item in found if item.kind is ItemKind.TOOL_CALL]
    outputs = [item.call_id for item in found if item.kind is ItemKind.TOOL_OUTPUT]
    assert sorted(map(str, calls)) == sorted(map(str, outputs))
    assert len(set(calls)) == len(calls)


async def test_a_worker_killed_in_mid_turn_is_replaced_and_the_turn_ends_once(world: World) -> None:
    id = (await world.client.start(TASK, REPOSITORY, None))["id"]
    async with asyncio.timeout(60):
        while not any(item.name == "clone" for item in await items(world, id)):
            await asyncio.sleep(0.05)
    world.worker(id).send_signal(signal.SIGKILL)
    session = await world.answered(id)
    found = await items(world, id)
    assert_whole(found)
    assert len(finals(found)) == 1
    assert session["generation"] == 2
    assert await world.pulls() == 1
    assert len(world.model.requests) >= session["usage"]["tokens"]["calls"] > 0


async def test_files_of_the_agent_reach_the_user_and_the_model(world: World) -> None:
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    task = f"!shell echo {dot} | base64 -d > dot.png"
    show = '!call view {"path": "dot.png"}\n!call send_file {"path": "dot.png", "caption": "A dot"}\n!say done'
    id = (await world.client.start(f"{task}\n{show}", None, None))["id"]
    await world.answered(id)
    found = await items(world, id)
    (seen,) = [item.files[0] for item in found if item.kind is ItemKind.TOOL_OUTPUT and item.files]
    (sent,) = [item for item in found if item.text == "A dot"]
    assert sent.files == [seen]
    assert (sent.kind, seen.filename, seen.content_type) == (ItemKind.ASSISTANT_MESSAGE, "dot.png", "image/png")
    async with httpx.AsyncClient(base_url=world.client.url) as http:
        answer = await http.get(f"/api/sessions/{id}/files/{seen.name}")
    assert answer.content == b64decode(dot)
    assert f"data:image/png;base64,{dot}" in str(world.model.requests[-1].body), "the model looks at it"


async def test_a_message_at_the_moment_of_deallocation_is_answered(tmp_path: Path) -> None:
    async with whole(tmp_path, NIGHTSHIFT_IDLE="0.5") as world:
        id = (await world.client.start("!shell echo one", None, None))["id"]
        await world.until(id, lambda it: it["phase"] == "stopping")
        await world.client.send(id, "!shell echo two")
        await world.until(id, lambda it: it["turns"] == 2)
        found = await items(world, id)
        assert_whole(found)
        assert len(finals(found)) == 2


async def test_machines_that_will_not_start_end_in_a_failure_that_says_why(tmp_path: Path) -> None:
    blocker = tmp_path / "var" / "machines"
    blocker.parent.mkdir()
    blocker.write_text("a file where the folder of the machines should be")
    async with whole(tmp_path) as world:
        id = (await world.client.start("!shell echo hello", None, None))["id"]
        session = await world.until(id, lambda it: it["phase"] == "failed")
        assert session["failure"]["stage"] == "machine start"
        notice = (await items(world, id))[-1]
        assert (notice.code, notice.level) == ("session_failed", "error")
        assert "try again" in notice.text
        blocker.unlink()
        await world.client.send(id, "!shell echo again")
        await world.answered(id)
        assert len(finals(await items(world, id))) >= 1


async def test_ten_sessions_at_once_end_with_ten_pull_requests_and_nothing_left_over(tmp_path: Path) -> None:
    async with whole(tmp_path, NIGHTSHIFT_SILENCE="60", NIGHTSHIFT_START="120") as world:
        server = psutil.Process(world.server.pid)
        started = await asyncio.gather(*(world.client.start(TASK, REPOSITORY, None) for _ in range(10)))
        ids = [each["id"] for each in started]
        await asyncio.gather(*(world.answered(id) for id in ids))
        assert await world.pulls() == 10
        for id in ids:
            found = await items(world, id)
            assert_whole(found)
            assert len(finals(found)) == 1
            await world.client.delete(id)
        async with asyncio.timeout(60):
            while any(world.processes(id) for id in ids) or await world.client.sessions(20):
                await asyncio.sleep(0.05)
        assert server.children(recursive=True) == []
        assert list((world.data / "machines").glob("nightshift-*")) == []


async def test_stop_resume_and_interrupt(world: World) -> None:
    id = (await world.client.start("!shell sleep 1000", None, None))["id"]
    async with asyncio.timeout(60):
        while not any("sleep" in each.info["name"] for each in world.processes(id)):
            await asyncio.sleep(0.05)
    await world.client.control(id, "interrupt")
    await world.answered(id)
    assert not any("sleep" in each.info["name"] for each in world.processes(id))
    assert_whole(await items(world, id))
    await world.client.control(id, "stop")
    await world.until(id, lambda it: it["phase"] == "stopped")
    assert world.processes(id) == []
    await world.client.control(id, "resume")
    await world.until(id, lambda it: it["phase"] == "waiting")
    await world.client.send(id, "!shell echo back")
    await world.answered(id)
    assert len(finals(await items(world, id))) == 1
    told = ""
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=world.client.url) as browser:
        while "Waits" not in told:  # until the next message, once the orchestrator has taken in the last one's end
            told = (await browser.get(f"/sessions/{id}/history")).text
    assert "<code>observe</code>" in told


async def test_requests_activities_worker_and_tools_are_one_trace(tmp_path: Path) -> None:
    with ingestion() as insights:
        async with whole(tmp_path, **insights.environment) as world:
            id = (await world.client.start("!shell echo one", None, None))["id"]
            await world.answered(id)
        mine = [each for each in insights.spans if each["tags"]["ai.operation.id"] == trace_of(id)]
        seen = {(each["tags"]["ai.cloud.role"], each["data"]["baseData"]["name"]) for each in mine}
    app, worker = "nightshift.app", "nightshift.worker"
    assert {(app, "start_machine"), (app, "observe"), (app, "ring")} <= seen
    assert {(worker, "turn"), (worker, "model"), (worker, "tool")} <= seen
    by_id = {each["data"]["baseData"]["id"]: each["data"]["baseData"]["name"] for each in mine}
    (tool,) = [each for each in mine if each["data"]["baseData"]["name"] == "tool"]
    assert by_id[tool["tags"]["ai.operation.parentId"]] == "turn"
    assert tool["data"]["baseData"]["properties"]["tool"] == "shell"
