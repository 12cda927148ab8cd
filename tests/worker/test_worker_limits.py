"""Turns that would never end by themselves: each ends with a code for programs and words for the user."""

from __future__ import annotations

from demo.model import Fault, ScriptedModel
from nightshift.models import Grant, ItemKind, Need, ReportKind
from tests.worker.conftest import Machine, configuration
from tests.worker.controlplane import ControlPlane


def same(count: int, command: str) -> str:
    return "\n".join([f"!shell {command}"] * count) + "\n!say done"


async def test_circles_are_told_to_the_model_once_and_then_end_the_turn(plane: ControlPlane, machine: Machine) -> None:
    await machine.start()
    turn = await plane.say(same(12, "echo again"))
    report = await plane.answered(turn)
    assert report.kind is ReportKind.FAILED
    assert "gave the same result 4 times" in report.detail
    assert [item.code for item in plane.of(ItemKind.NOTICE)] == ["going_in_circles", "stuck"]
    assert len(plane.of(ItemKind.TOOL_OUTPUT)) == 8
    assert (await plane.answered(await plane.say("!say on we go"))).kind is ReportKind.COMPLETED


async def test_the_model_reads_that_it_goes_round_in_circles(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    await machine.start()
    await plane.answered(await plane.say(same(5, "echo again")))
    told = [str(item.get("content")) for item in model.requests[-1].body["input"] if item.get("role") == "system"]
    assert [text[:18] for text in told] == ["[going_in_circles]"]


async def test_a_poll_may_take_as_long_as_it_takes(plane: ControlPlane, machine: Machine) -> None:
    await machine.start()
    turn = await plane.say(same(10, "sleep 0.01; echo in progress"))
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED


async def test_a_model_that_hangs_ends_the_turn_at_its_time_limit(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    plane.config = configuration(turn_seconds=0.5)
    model.faults.append(Fault(hang=True))
    await machine.start()
    report = await plane.answered(await plane.say("!say never"))
    assert plane.items[-1].code == "time_limit"
    assert "Send a message to go on" in report.detail


async def test_a_session_asks_after_its_steps_and_its_users_word_gives_it_as_many_again(
    plane: ControlPlane, machine: Machine
) -> None:
    plane.config = configuration(session_steps=3)
    await machine.start()
    await plane.answered(await plane.say("!shell echo 1"))
    report = await plane.answered(await plane.say("!shell echo 2\n!shell echo 3"))
    assert (report.needs_user, plane.items[-1].code) == (Need.LIMIT, "session_limit")
    assert len(plane.of(ItemKind.TOOL_OUTPUT)) == 2
    await machine.kill()  # what was used and given is in the log
    await machine.start()
    assert (await plane.answered(await plane.say("!shell echo 4"))).kind is ReportKind.COMPLETED
    report = await plane.answered(await plane.say("!shell echo 5"))
    assert report.detail == "Stopped after 6 steps of this session. Send a message to go on, for up to 3 more."


async def test_a_session_asks_after_its_working_time(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    plane.config = configuration(session_seconds=0.5)
    await machine.start()
    for _ in range(2):
        model.faults.append(Fault(hang=True))
        report = await plane.answered(await plane.say("!say never"))
        assert (report.needs_user, plane.items[-1].code) == (Need.LIMIT, "session_limit")
        assert "for up to" in report.detail


async def test_a_refused_reservation_ends_the_turn_before_anything_is_paid(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    plane.no_money = "The budget does not pay for another call"
    await machine.start()
    report = await plane.answered(await plane.say("!say never"))
    assert (plane.items[-1].code, plane.items[-1].level) == ("budget_exhausted", "warning")
    assert report.detail == "The budget does not pay for another call. Raise the budget to go on."
    assert not model.requests
    plane.no_money = ""
    assert (await plane.answered(await plane.say("!say again"))).kind is ReportKind.COMPLETED


async def test_each_call_is_reserved_with_what_was_used_before_and_takes_no_more_than_was_granted(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    plane.grant = Grant(max_output_tokens=1234, remaining_usd=0.01)
    await machine.start()
    turn = await plane.say("!shell echo 1\n!shell echo 2")
    await plane.answered(turn)
    assert [exchange.body["max_output_tokens"] for exchange in model.requests] == [1234] * 3
    assert [sum(used.tokens.calls for used in each.usage) for each in plane.reservations] == [0, 1, 2]
    assert len({each.id for each in plane.reservations}) == 3
    bills = [exchange.response["usage"]["input_tokens"] for exchange in model.requests if exchange.response]
    for estimate, bill in zip([each.input_tokens for each in plane.reservations], bills, strict=True):
        assert abs(estimate - bill) < bill / 2


async def test_without_a_budget_one_reservation_does_for_a_turn_until_the_user_changes_something(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    await machine.start()
    await plane.answered(await plane.say("!shell echo 1\n!shell echo 2"))
    assert len(plane.reservations) == 1
    go = machine.folder / "go"
    turn = await plane.say(f"!shell until [ -e {go} ]; do sleep 0.05; done\n!shell echo 2\n!say never")
    await plane.until(lambda: len(plane.of(ItemKind.TOOL_CALL)) == 3)
    plane.no_money = "The budget is used up"
    await plane.budget(1.0)
    go.touch()
    assert "The budget is used up" in (await plane.answered(turn)).detail
    assert len(plane.reservations) == 3
