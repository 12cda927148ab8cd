"""Whole turns: a real worker process, real HTTP, the scripted model."""

from __future__ import annotations

from itertools import pairwise

from demo.model import EMPTY, Fault, ScriptedModel
from nightshift.models import ItemKind, ReportKind, Tokens
from tests.worker.conftest import API_KEY, Machine, configuration, until
from tests.worker.controlplane import TOKEN, ControlPlane

QUICK = {"retry-after-ms": "5"}


def used(model: ScriptedModel) -> Tokens:
    """What the model says it has been paid for."""
    bills = [exchange.response["usage"] for exchange in model.requests if exchange.response]
    return Tokens(
        input=sum(bill["input_tokens"] for bill in bills),
        cached=sum(bill["input_tokens_details"]["cached_tokens"] for bill in bills),
        output=sum(bill["output_tokens"] for bill in bills),
        reasoning=sum(bill["output_tokens_details"]["reasoning_tokens"] for bill in bills),
        calls=len(bills),
    )


async def test_a_turn_is_answered_and_reported(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    turn = await plane.say("!shell echo hello from $PWD")
    await machine.start()
    report = await plane.answered(turn)
    assert report.kind is ReportKind.COMPLETED
    assert report.through_seq == turn
    assert report.id == f"completed-{turn}-{turn}-g1"
    assert report.usage[0].tokens == used(model)
    assert [item.kind for item in plane.items] == [
        ItemKind.USER_MESSAGE,
        ItemKind.TOOL_CALL,
        ItemKind.TOOL_OUTPUT,
        ItemKind.ASSISTANT_MESSAGE,
    ]
    assert f"hello from {machine.folder}/workspace" in plane.finals()[0]
    assert {(item.turn, item.generation) for item in plane.items[1:]} == {(turn, 1)}
    assert plane.reports[0].kind is ReportKind.STARTED
    request = model.requests[0].body
    assert (request["store"], request["prompt_cache_key"]) == (False, "s1")
    assert request["include"] == ["reasoning.encrypted_content"]


async def test_a_message_during_a_turn_is_seen_at_the_next_model_call(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    go = machine.folder / "go"
    turn = await plane.say(f"!shell until [ -e {go} ]; do sleep 0.05; done")
    await machine.start()
    await plane.until(lambda: plane.of(ItemKind.TOOL_CALL))
    second = await plane.say("!say and this")
    await plane.until(lambda: plane.polled_after >= second)
    go.touch()
    report = await plane.answered(turn)
    assert report.through_seq == second
    assert len(plane.finals()) == 1
    assert "and this" in plane.finals()[0]
    said = [item.get("content") for item in model.requests[-1].body["input"] if item.get("role") == "user"]
    assert said[-1] == "!say and this"


async def test_a_message_during_the_last_model_call_begins_another_turn(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    plane.hold_before = lambda item: item.final
    first = await plane.say("!say one")
    await machine.start()
    await plane.held.wait()
    second = await plane.say("!say two")
    await plane.release()
    assert (await plane.answered(first)).through_seq == first
    assert (await plane.answered(second)).through_seq == second
    assert plane.finals() == ["one", "two"]
    roles = [item["role"] for item in model.requests[-1].body["input"]]
    assert roles == ["user", "assistant", "user"], "what the model had not seen comes after its answer"


async def test_the_model_is_asked_while_an_output_is_stored_and_its_answer_comes_behind(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    """And a message that is stored meanwhile has the place that the output should have had."""
    plane.hold_before = lambda item: item.kind is ItemKind.TOOL_OUTPUT
    go = machine.folder / "go"
    turn = await plane.say(f"!shell echo one\n!shell until [ -e {go} ]; do sleep 0.05; done\n!say done")
    await machine.start()
    await plane.held.wait()
    await until(lambda: len(model.requests) == 2 and model.requests[1].response)
    second = await plane.say("!say and this")
    await plane.until(lambda: plane.polled_after >= second)
    assert [item.kind for item in plane.items[1:]] == [ItemKind.TOOL_CALL, ItemKind.USER_MESSAGE]
    await plane.release()
    await plane.until(lambda: len(plane.of(ItemKind.TOOL_CALL)) == 2)
    go.touch()
    assert (await plane.answered(turn)).through_seq == second
    call, output = ItemKind.TOOL_CALL, ItemKind.TOOL_OUTPUT
    assert [item.kind for item in plane.items[3:]] == [output, call, output, ItemKind.ASSISTANT_MESSAGE]
    assert "one" in plane.of(output)[0].text
    for earlier, later in pairwise([exchange.body["input"] for exchange in model.requests]):
        assert later[: len(earlier)] == earlier


async def test_an_output_that_is_refused_is_not_what_the_next_answer_follows(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    await machine.start()
    plane.hold_before = lambda item: item.kind is ItemKind.TOOL_OUTPUT
    turn = await plane.say("!shell echo one\n!say done")
    await plane.held.wait()
    await until(lambda: len(model.requests) == 2 and model.requests[1].response)
    plane.refuses = lambda item: "one" in item.text
    await plane.release()
    report = await plane.answered(turn)
    assert report.kind is ReportKind.FAILED
    assert [item.kind for item in plane.items[1:]] == [ItemKind.TOOL_CALL, ItemKind.TOOL_OUTPUT, ItemKind.NOTICE]
    assert plane.items[2].text == plane.items[3].text
    assert (await plane.answered(await plane.say("!say again"))).kind is ReportKind.COMPLETED


async def test_every_request_begins_with_the_one_before(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    await machine.start()
    for text in ("!shell echo 1\n!shell echo 2", "!shell echo 3"):
        await plane.answered(await plane.say(text))
    bodies = [exchange.body for exchange in model.requests]
    for earlier, later in pairwise(bodies):
        assert later["input"][: len(earlier["input"])] == earlier["input"]
        assert (later["instructions"], later["tools"]) == (earlier["instructions"], earlier["tools"])
    assert any(
        exchange.response and exchange.response["usage"]["input_tokens_details"]["cached_tokens"]
        for exchange in model.requests
    )


async def test_interrupt_during_a_model_call(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    model.faults.append(Fault(hang=True))
    turn = await plane.say("!say never")
    await machine.start()
    await plane.until(lambda: plane.reported(ReportKind.STARTED))
    await until(lambda: model.requests)
    await plane.interrupt()
    report = await plane.answered(turn)
    assert report.kind is ReportKind.INTERRUPTED
    assert report.through_seq == turn
    assert plane.items[-1].code == "turn_interrupted"
    second = await plane.say("!say again")
    assert (await plane.answered(second)).kind is ReportKind.COMPLETED
    assert plane.finals() == ["again"]


async def test_interrupt_ends_a_shell_and_all_its_children(plane: ControlPlane, machine: Machine) -> None:
    ready = machine.folder / "ready"
    turn = await plane.say(
        f"!shell (trap '' TERM; sleep 1000) & setsid sleep 1001 & sleep 1002 & touch {ready}; sleep 1003"
    )
    await machine.start()
    await until(lambda: ready.exists())
    assert len(machine.processes()) >= 4
    await plane.interrupt()
    report = await plane.answered(turn)
    assert report.kind is ReportKind.INTERRUPTED
    assert machine.processes() == []
    output = plane.of(ItemKind.TOOL_OUTPUT)[0]
    assert (output.text, output.is_error) == ("interrupted by the user", True)
    await plane.answered(await plane.say("!say go on"))


async def test_an_interrupt_of_what_is_answered_is_ignored(plane: ControlPlane, machine: Machine) -> None:
    await machine.start()
    await plane.answered(await plane.say("!say one"))
    await plane.interrupt()
    report = await plane.answered(await plane.say("!say two"))
    assert report.kind is ReportKind.COMPLETED
    assert plane.finals() == ["one", "two"]


async def test_malformed_arguments_and_unknown_tools_go_back_to_the_model(
    plane: ControlPlane, machine: Machine
) -> None:
    await machine.start()
    turn = await plane.say('!call shell {"command": \n!call shell {"cmd": "ls"}\n!call fly {}\n!say done')
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED
    outputs = plane.of(ItemKind.TOOL_OUTPUT)
    assert [output.is_error for output in outputs] == [True] * 3
    assert "not valid" in outputs[0].text
    assert "command: Field required; cmd: Extra inputs" in outputs[1].text
    assert "There is no tool 'fly'" in outputs[2].text


async def test_passing_model_errors_are_retried(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    model.faults += [Fault(429, QUICK), Fault(500, QUICK), Fault(503, QUICK), None]
    await machine.start()
    report = await plane.answered(await plane.say("!say at last"))
    assert report.kind is ReportKind.COMPLETED
    assert report.usage[0].tokens.calls == 1


async def test_lasting_model_errors_fail_the_turn_not_the_worker(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    model.faults += [Fault(400)]
    await machine.start()
    turn = await plane.say("!say one")
    report = await plane.answered(turn)
    assert report.kind is ReportKind.FAILED
    assert report.through_seq == turn
    assert "Scripted fault 400" in report.detail
    notice = plane.of(ItemKind.NOTICE)[0]
    assert (notice.code, notice.level) == ("model_refused", "error")
    await plane.answered(await plane.say("!say two"))
    assert plane.finals() == ["two"]


async def test_an_answer_that_is_no_response_fails_the_turn(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    model.faults += [Fault(200, body={"hello": "world"})]
    await machine.start()
    report = await plane.answered(await plane.say("!say one"))
    assert "not a Responses API one" in report.detail


async def test_without_a_key_the_turn_says_what_to_configure(plane: ControlPlane, machine: Machine) -> None:
    machine.endpoint.api_key = ""
    await machine.start()
    report = await plane.answered(await plane.say("hello"))
    assert "Configure the model endpoint" in report.detail


async def test_an_empty_answer_is_nudged_once(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    model.faults += [EMPTY]
    await machine.start()
    report = await plane.answered(await plane.say("!say words"))
    assert plane.finals() == ["words"]
    assert report.usage[0].tokens == used(model)
    model.faults += [EMPTY, EMPTY]
    report = await plane.answered(await plane.say("!say words"))
    assert report.kind is ReportKind.FAILED
    assert report.usage[0].tokens.calls == 2


async def test_the_step_limit_ends_a_turn(plane: ControlPlane, machine: Machine) -> None:
    plane.config = configuration(max_steps=2)
    await machine.start()
    report = await plane.answered(await plane.say("!shell echo 1\n!shell echo 2\n!shell echo 3"))
    assert report.kind is ReportKind.FAILED
    assert plane.items[-1].code == "step_limit"
    assert len(plane.of(ItemKind.TOOL_OUTPUT)) == 2


async def test_a_stale_worker_exits_with_3_and_takes_its_tools_along(plane: ControlPlane, machine: Machine) -> None:
    await plane.say("!sleep 1000")
    await machine.start()
    await until(lambda: machine.processes())
    plane.stale = True
    await plane.release()
    assert await machine.ended() == 3
    assert machine.processes() == []


async def test_a_void_token_exits_with_3(plane: ControlPlane, machine: Machine) -> None:
    plane.stale = True
    await machine.start()
    assert await machine.ended() == 3


async def test_a_hiccuping_control_plane_loses_nothing(plane: ControlPlane, machine: Machine) -> None:
    plane.statuses += [500, 503, 502]
    await machine.start()
    await plane.until(lambda: plane.reported(ReportKind.STARTED))
    plane.statuses += [500, 429]
    await plane.answered(await plane.say("!shell echo hello"))
    assert len(plane.finals()) == 1
    assert len({item.id for item in plane.items}) == len(plane.items)


async def test_heartbeats_while_waiting(plane: ControlPlane, machine: Machine) -> None:
    plane.config = configuration(heartbeat_seconds=0.05)
    await machine.start()
    await plane.until(lambda: len(plane.reported(ReportKind.PROGRESS)) > 3)


async def test_a_tools_effect_and_messages_on_the_way(plane: ControlPlane, machine: Machine) -> None:
    await machine.start()
    turn = await plane.say(
        '!call set_title {"title": "A title"}\n'
        '!call todo {"items": [{"text": "one", "status": "done"}]}\n'
        '!call message_user {"text": "still at it"}\n!say done'
    )
    await plane.answered(turn)
    effects = [item.effect for item in plane.of(ItemKind.TOOL_OUTPUT)]
    assert effects[0]
    assert effects[0].title == "A title"
    assert effects[1]
    assert effects[1].todo
    assert effects[1].todo[0].status == "done"
    messages = [(item.text, item.final) for item in plane.of(ItemKind.ASSISTANT_MESSAGE)]
    assert messages == [("still at it", False), ("done", True)]


async def test_what_utf8_cannot_carry_is_replaced(plane: ControlPlane, machine: Machine) -> None:
    await machine.start()
    turn = await plane.say(
        r"""!shell mkdir -p $'\xff' && cd $'\xff' && pwd""" + '\n!call \\ud800 {"\\ud800": 1}\n!say done'
    )
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED
    assert "exit code 0" in plane.of(ItemKind.TOOL_OUTPUT)[0].text


async def test_secrets_reach_neither_log_nor_model_nor_tools(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    await machine.start()
    turn = await plane.say(
        f"!shell env; (cd /proc/$PPID && cat environ cmdline); printf 'it is %s%s' {API_KEY[:8]} {API_KEY[8:]}"
    )
    await plane.answered(turn)
    output = plane.of(ItemKind.TOOL_OUTPUT)[0].text
    assert "it is [secret removed]" in output
    seen = str([exchange.body for exchange in model.requests]) + str(plane.items)
    seen += "".join(path.read_text(errors="replace") for path in machine.folder.rglob("*.txt"))
    assert not any(secret in seen for secret in (TOKEN, API_KEY))
