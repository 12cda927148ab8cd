"""The model side of whole turns: choice of model and effort, streams that break, stops, images, price steps, cache."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest

from demo.model import Fault, ScriptedModel
from nightshift.models import FileRef, ItemKind, ReportKind
from tests.worker.conftest import Machine, configuration, until
from tests.worker.controlplane import ControlPlane
from tests.worker.test_worker_turn import used

USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


def incomplete(why: str, *output: dict[str, Any]) -> Fault:
    """A response that stops short."""
    body = {"id": "resp_x", "status": "incomplete", "incomplete_details": {"reason": why}, "output": output}
    return Fault(200, body=body | {"usage": USAGE})


def message(text: str) -> dict[str, Any]:
    return {"id": "msg_x", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(arguments: str) -> dict[str, Any]:
    return {"id": "fc_x", "type": "function_call", "call_id": "call_x", "name": "shell", "arguments": arguments}


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_every_request_begins_with_the_bytes_of_the_one_before(
    plane: ControlPlane, model: ScriptedModel, machine: Machine, api: Any
) -> None:
    """Over tools, turns and a restart, so that the server's prompt cache holds."""
    machine.endpoint.api = api
    await machine.start()
    await plane.answered(await plane.say("!shell echo 1\n!call shell {oops\n!shell echo 2"))
    await machine.kill()
    turn = await plane.say("!shell echo 3")
    await machine.start()
    await plane.answered(turn)
    requests = [exchange.raw for exchange in model.requests]
    assert len(requests) == 6
    for earlier, later in pairwise(requests):
        assert earlier.endswith(b"]}")
        assert later.startswith(earlier[:-2])
    reports = [report for report in plane.reports if report.usage]
    assert sum(report.usage[0].tokens.cached for report in reports if report.kind is ReportKind.COMPLETED) > 0
    assert len(plane.finals()) == 2


async def test_chat_completions_do_the_same_work(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    machine.endpoint.api = "chat"
    await machine.start()
    turn = await plane.say("!shell echo one\n!call shell {oops\n!call fly {}\n!shell echo two")
    report = await plane.answered(turn)
    assert report.kind is ReportKind.COMPLETED
    assert report.usage[0].tokens == used(model)
    assert "two" in plane.finals()[0]
    assert [output.is_error for output in plane.of(ItemKind.TOOL_OUTPUT)] == [False, True, True, False]


async def test_a_session_changes_its_api_and_its_model_in_mid_life(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    await machine.start()
    await plane.answered(await plane.say("Fix issue #1", model="gpt-5.2"))
    for api in ("chat", "responses"):
        await machine.stop()
        machine.endpoint.api = api
        await machine.start()
        report = await plane.answered(await plane.say("!shell echo more"))
        assert report.kind is ReportKind.COMPLETED, report.detail
    await plane.answered(await plane.say("!say x", model="another"))
    await plane.answered(await plane.say("!say y"))
    asked = [exchange.body["model"] for exchange in model.requests]
    assert asked[-2:] == ["another", "another"], "it stays"
    assert set(asked[:-2]) == {"gpt-5.2"}


async def test_the_effort_is_of_its_turn(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    plane.config = configuration(effort="low")
    await machine.start()
    for text, effort in (("!say a", None), ("!say b", "high"), ("!say c", None), ("!say d UltraThink!", None)):
        await plane.answered(await plane.say(text, effort=effort))
    assert [e.body["reasoning"]["effort"] for e in model.requests] == ["low", "high", "low", "xhigh"]


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_of_a_stream_that_breaks_nothing_is_stored_twice_or_in_part(
    plane: ControlPlane, model: ScriptedModel, machine: Machine, api: Any
) -> None:
    machine.endpoint.api = api
    model.faults += [Fault(cut=6), None, Fault(cut=3), None, Fault(cut=2)]
    await machine.start()
    report = await plane.answered(await plane.say("!shell echo a long line of words\n!shell echo another"))
    assert report.kind is ReportKind.COMPLETED
    assert len(plane.of(ItemKind.TOOL_CALL)) == len(plane.of(ItemKind.TOOL_OUTPUT)) == 2
    assert len(plane.finals()) == 1
    assert report.usage[0].tokens == used(model)


async def test_a_call_that_was_cut_off_is_not_made(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    cut = '{"command": "touch cut", "timeout_seconds": null}'
    model.faults += [incomplete("max_output_tokens", message("I will"), call(cut))]
    await machine.start()
    turn = await plane.say("!say x")
    report = await plane.answered(turn)
    assert report.kind is ReportKind.COMPLETED
    assert not plane.of(ItemKind.TOOL_CALL)
    said, answer = plane.of(ItemKind.ASSISTANT_MESSAGE)
    assert (said.text, said.final, answer.final) == ("I will", False, True)
    assert "[response_cut]" in model.requests[-1].body["input"][-1]["content"]
    assert report.usage[0].tokens.calls == 2


async def test_answers_that_are_always_too_long_end_the_turn(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    model.faults += [incomplete("max_output_tokens", message("more"))] * 9
    await machine.start()
    report = await plane.answered(await plane.say("!say x"))
    assert report.kind is ReportKind.FAILED
    assert report.usage[0].tokens.calls == len(model.requests) == 5


async def test_a_content_filter_ends_the_turn_by_name(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    model.faults += [incomplete("content_filter", message("half a"))]
    await machine.start()
    report = await plane.answered(await plane.say("!say x"))
    assert report.kind is ReportKind.FAILED
    assert [(item.kind, item.code) for item in plane.items[1:]] == [(ItemKind.NOTICE, "content_filter")]
    assert report.usage[0].tokens.calls == 1, "it was paid for"
    await plane.answered(await plane.say("!say y"))
    assert plane.finals() == ["y"]


async def test_an_image_of_the_user_reaches_the_model(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    content = b"\x89PNG..."
    plane.files[sha256(content).hexdigest()] = content
    file = FileRef(name=sha256(content).hexdigest(), filename="a.png", content_type="image/png", size=len(content))
    lost = file.model_copy(update={"name": "0" * 64, "filename": "lost.png"})
    await machine.start()
    await plane.answered(await plane.say("!say seen", files=[file, lost]))
    parts = model.requests[0].body["input"][0]["content"]
    assert parts[0] == {"type": "input_text", "text": "!say seen"}
    assert parts[1]["image_url"].startswith("data:image/png;base64,")
    assert parts[2] == {"type": "input_text", "text": "[image lost.png: it could not be read]"}
    assert not any("base64" in item.model_dump_json() for item in plane.items), "the log names it, no more"


async def test_files_of_the_user_are_on_the_machine_before_the_agent_reads_of_them(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    content = b"a,b\n1,2\n"
    name = sha256(content).hexdigest()
    plane.files[name] = content
    file = FileRef(name=name, filename="..a b.csv", content_type="text/csv", size=len(content))
    place = f"attachments/{name[:8]}-..a_b.csv"
    await machine.start()
    await plane.answered(await plane.say(f"!shell cat ../{place}", files=[file]))
    (output,) = [item for item in plane.items if item.kind is ItemKind.TOOL_OUTPUT]
    assert "a,b\n1,2\n" in output.text
    assert f"as {place}]" in model.requests[0].body["input"][0]["content"][-1]["text"]


async def test_long_calls_are_counted_apart(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    plane.config = configuration(price_steps=[10, 100, 10_000_000])
    model.faults += [Fault(200, body={"output": [message("ok")], "usage": USAGE})]
    await machine.start()
    await plane.answered(await plane.say("!say one"))
    report = await plane.answered(await plane.say("!shell echo two"))
    (long,) = report.usage
    assert (long.above, long.tokens.calls) == (100, 2)
    first = plane.reported(ReportKind.COMPLETED)[0]
    assert [(entry.above, entry.tokens.input) for entry in first.usage] == [(0, 10)], "ten is not above ten"


async def test_a_long_wait_for_the_server_is_shown_and_interrupted_at_once(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    model.faults += [Fault(429, {"retry-after": "120"})]
    await machine.start()
    turn = await plane.say("!say x")
    await until(lambda: any(draft.kind == "wait" for draft in plane.drafts))
    assert "Waiting for the model server, 1" in plane.drafts[-1].text
    await plane.interrupt()
    assert (await plane.answered(turn)).kind is ReportKind.INTERRUPTED
