"""Plan first: nothing is changed before the user approves the newest plan, whatever is restarted when."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from nightshift.models import ItemKind, Need, NewReport
from tests.worker.conftest import Machine
from tests.worker.controlplane import ControlPlane

CHANGES = """\
!call create {"path": "made", "text": "x", "overwrite": false}
!call background {"action": "input", "id": "bg1", "text": "touch made", "wait_seconds": null, "offset": null}
!call issue_comment {"repository": "acme/tidytime", "number": 1, "text": "Hello"}"""
PLAN = "# Plan\\n\\n1. Write it"
PROPOSE = f'!call propose_plan {{"plan": "{PLAN}"}}'


async def said(plane: ControlPlane, text: str, **fields: Any) -> NewReport:
    return await plane.answered(await plane.say(text, **fields))


def outputs(plane: ControlPlane, name: str) -> list[str]:
    return [item.text for item in plane.of(ItemKind.TOOL_OUTPUT) if item.name == name]


def plans(plane: ControlPlane) -> list[str]:
    return [item.id for item in plane.of(ItemKind.TOOL_CALL) if item.name == "propose_plan"]


async def test_nothing_is_changed_before_the_plan_is_approved(plane: ControlPlane, machine: Machine) -> None:
    ran, made = machine.folder / "ran", machine.folder / "workspace" / "made"
    run = f"!shell echo ran >> {ran}"
    await machine.start()
    script = f'{run}\n{CHANGES}\n!call view {{"path": ".", "first_line": 1, "last_line": null}}\n{PROPOSE}'
    report = await said(plane, script, plan=True)
    assert report.needs_user is Need.PLAN
    refused = [item.name for item in plane.of(ItemKind.TOOL_OUTPUT) if "wants to approve a plan" in item.text]
    assert refused == ["shell", "create", "background", "issue_comment"]
    assert outputs(plane, "view")
    (approval,) = [item.effect.approval for item in plane.items if item.effect and item.effect.approval]
    assert (approval.kind, approval.action) == ("plan", json.loads(f'"{PLAN}"'))

    await machine.kill()  # where it stands is in the log, not in the worker
    await machine.start()
    report = await said(plane, f"Rather so!\n{run}\n{PROPOSE}")
    assert report.needs_user is Need.PLAN, "an answer is not a yes"
    await said(plane, run, approves=plans(plane)[0])
    assert not ran.exists(), "that plan was replaced by another"

    await machine.kill()
    turn = await plane.say(run, approves=plans(plane)[-1])
    await machine.start()
    assert (await plane.answered(turn)).needs_user is None
    assert ran.read_text() == "ran\n"
    assert not made.exists()


async def test_what_stands_before_the_conversation_stays_the_same(plane: ControlPlane, machine: Machine) -> None:
    await machine.start()
    await said(plane, f"!shell ls\n{PROPOSE}", plan=True)
    await said(plane, "!shell ls", approves=plans(plane)[0])
    bodies = [exchange.body for exchange in machine.model.requests]
    assert len({json.dumps([body["instructions"], body["tools"]]) for body in bodies}) == 1
    for before, after in pairwise(bodies):
        assert after["input"][: len(before["input"])] == before["input"]


async def test_a_plan_that_a_crash_cut_short_is_proposed_once(plane: ControlPlane, machine: Machine) -> None:
    plane.hold_before = lambda item: item.kind is ItemKind.TOOL_OUTPUT
    turn = await plane.say(PROPOSE, plan=True)
    await machine.start()
    await plane.held.wait()
    await machine.kill()
    await plane.release(drop=True)
    await machine.start()
    assert (await plane.answered(turn)).needs_user is Need.PLAN
    assert len(plans(plane)) == len(outputs(plane, "propose_plan")) == 1


async def test_the_user_may_go_on_without_a_plan(plane: ControlPlane, machine: Machine) -> None:
    await machine.start()
    await said(plane, "!shell ls", plan=True)
    await said(plane, "!shell echo hello", plan=False)
    refused, done = outputs(plane, "shell")
    assert "Not done" in refused
    assert "hello" in done
