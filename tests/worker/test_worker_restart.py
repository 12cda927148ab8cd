"""A worker that is killed at any point and started again: nothing lost, nothing doubled, everything counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from demo.model import Fault, ScriptedModel
from nightshift.models import ItemKind, NewItem, ReportKind
from tests.worker.conftest import Machine, until
from tests.worker.controlplane import ControlPlane
from tests.worker.test_worker_turn import used

Point = Callable[[NewItem], bool]

POINTS: dict[str, Point] = {
    "call": lambda item: item.kind is ItemKind.TOOL_CALL,
    "output": lambda item: item.kind is ItemKind.TOOL_OUTPUT,
    "answer": lambda item: item.final,
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("stored", [True, False])
async def test_killed_around_a_write(
    plane: ControlPlane, model: ScriptedModel, machine: Machine, point: str, stored: bool
) -> None:
    """Before or after the item is durable; in both cases the worker does not hear of it."""
    if stored:
        plane.hold_after = POINTS[point]
    else:
        plane.hold_before = POINTS[point]
    turn = await plane.say("!shell echo work >> done.txt; cat done.txt")
    await machine.start()
    await plane.held.wait()
    await machine.kill()
    await plane.release(drop=True)
    await machine.start()
    report = await plane.answered(turn)
    assert report.kind is ReportKind.COMPLETED
    assert len(plane.finals()) == 1
    assert len({item.id for item in plane.items}) == len(plane.items)
    calls, outputs = plane.of(ItemKind.TOOL_CALL), plane.of(ItemKind.TOOL_OUTPUT)
    assert [output.id for output in outputs] == [f"{call.id}.out" for call in calls]
    paid_but_lost = used(model).calls - report.usage[0].tokens.calls
    # While an output is stored the model is asked already, and may have answered or not.
    assert paid_but_lost in {"call": {0 if stored else 1}, "output": {0, 1}, "answer": {0 if stored else 1}}[point]
    if not paid_but_lost:
        assert report.usage[0].tokens == used(model)
    if stored and point == "call":
        assert outputs[0].text == "interrupted by a restart; check before you repeat it"


async def test_killed_while_the_model_has_answered_and_the_output_is_not_stored(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    """The answer waited for the output, and both are gone: the model must look before it repeats anything."""
    plane.hold_before = POINTS["output"]
    turn = await plane.say("!shell echo work\n!say done")
    await machine.start()
    await plane.held.wait()
    await until(lambda: len(model.requests) == 2 and model.requests[1].response)
    assert [item.kind for item in plane.items] == [ItemKind.USER_MESSAGE, ItemKind.TOOL_CALL]
    await machine.kill()
    await plane.release(drop=True)
    await machine.start()
    report = await plane.answered(turn)
    calls, outputs = plane.of(ItemKind.TOOL_CALL), plane.of(ItemKind.TOOL_OUTPUT)
    assert [output.id for output in outputs] == [f"{call.id}.out" for call in calls]
    assert outputs[0].text == "interrupted by a restart; check before you repeat it"
    assert used(model).calls - report.usage[0].tokens.calls == 1


async def test_killed_during_a_command_its_processes_end_and_the_model_is_told(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    once = machine.folder / "once"
    turn = await plane.say(f"!shell [ -e {once} ] || {{ touch {once}; sleep 1000; }}; echo second time")
    await machine.start()
    await until(lambda: once.exists())
    orphans = machine.processes()
    assert orphans
    await machine.kill()
    await machine.start()
    report = await plane.answered(turn)
    assert not set(orphans) & set(machine.processes())
    first, second = plane.of(ItemKind.TOOL_OUTPUT)
    assert first.text.startswith("interrupted by a restart")
    assert "second time" in second.text
    assert report.usage[0].tokens == used(model)


async def test_what_a_killed_git_had_locked_is_free_again(plane: ControlPlane, machine: Machine) -> None:
    """It would have the next one believe that another still runs."""
    once = machine.folder / "once"
    locked = "acme/one/.git/index.lock two/.git/refs/heads/main.lock"
    begin = f"git init -q acme/one; git init -q two; touch {locked} kept.lock {once}; sleep 1000"
    turn = await plane.say(f"!shell [ -e {once} ] || {{ {begin}; }}; find . -name '*.lock'")
    await machine.start()
    await until(lambda: once.exists())
    await machine.kill()
    await machine.start()
    await plane.answered(turn)
    first, second = plane.of(ItemKind.TOOL_OUTPUT)
    assert first.text.startswith("interrupted by a restart")
    assert [line for line in second.text.splitlines() if line.endswith(".lock")] == ["./kept.lock"]


async def test_killed_during_a_model_call(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    model.faults += [None, Fault(hang=True)]
    turn = await plane.say("!shell echo once")
    await machine.start()
    await until(lambda: len(model.requests) == 2)
    await machine.kill()
    await machine.start()
    report = await plane.answered(turn)
    assert len(plane.of(ItemKind.TOOL_CALL)) == 1
    assert report.usage[0].tokens == used(model)


async def test_killed_between_the_answer_and_its_report(plane: ControlPlane, machine: Machine) -> None:
    plane.hold_after = lambda item: item.final
    turn = await plane.say("!say done")
    await machine.start()
    await plane.held.wait()
    await machine.kill()
    await plane.release()
    assert plane.reported(ReportKind.COMPLETED) == []
    await machine.start()
    report = await plane.answered(turn)
    assert report.through_seq == turn
    assert plane.reported(ReportKind.STARTED)[-1].through_seq == turn
    assert plane.finals() == ["done"]


async def test_interrupted_while_it_was_down(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    turn = await plane.say("!say never")
    await plane.interrupt()
    await machine.start()
    assert (await plane.answered(turn)).kind is ReportKind.INTERRUPTED
    assert not model.requests


async def test_what_a_killed_worker_sent_arrives_late(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    """Its calls will never run, and the model's API refuses a conversation with a call that has no output."""
    plane.hold_before = lambda item: item.kind is ItemKind.TOOL_CALL
    go = machine.folder / "go"
    turn = await plane.say(f"!shell until [ -e {go} ]; do sleep 0.05; done")
    await machine.start()
    await plane.held.wait()
    await machine.kill()
    plane.hold_before = None
    await machine.start()
    await plane.until(lambda: plane.of(ItemKind.TOOL_CALL))
    await plane.release()
    await plane.until(lambda: len(plane.of(ItemKind.TOOL_CALL)) == 2 and plane.polled_after == len(plane.items))
    go.touch()
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED
    assert len(plane.of(ItemKind.TOOL_OUTPUT)) == len(plane.of(ItemKind.TOOL_CALL))


async def test_a_harmless_call_is_made_again(plane: ControlPlane, machine: Machine) -> None:
    plane.hold_after = lambda item: item.kind is ItemKind.TOOL_CALL
    turn = await plane.say('!call message_user {"text": "only once"}\n!say done')
    await machine.start()
    await plane.held.wait()
    await machine.kill()
    await plane.release()
    await machine.start()
    await plane.answered(turn)
    assert [item.text for item in plane.of(ItemKind.ASSISTANT_MESSAGE)] == ["only once", "done"]
    assert len(plane.of(ItemKind.TOOL_CALL)) == 1


async def test_a_long_log_is_read_in_pages(plane: ControlPlane, machine: Machine) -> None:
    for number in range(450):
        await plane.say(f"!say {number}")
    await machine.start()
    report = await plane.answered(1)
    assert report.through_seq == 450
    assert plane.finals()[0].endswith("449")
