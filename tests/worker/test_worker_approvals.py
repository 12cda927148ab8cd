"""A risky action from the question to the yes, and across restarts; pushes by whoever calls git."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest_asyncio

from demo import sample
from demo.forge import Forge
from nightshift.models import ItemKind, Need, NewItem, ReportKind
from tests.worker.conftest import Machine, configuration
from tests.worker.controlplane import ControlPlane

REPOSITORY = f"{sample.OWNER}/{sample.NAME}"


@pytest_asyncio.fixture
async def forge(tmp_path: Path, plane: ControlPlane) -> AsyncGenerator[Forge]:
    forge = Forge(tmp_path / "forge")
    await sample.plant(forge)
    await forge.start()
    plane.config = configuration(github_api_url=forge.api_url, github_host=forge.url)
    plane.github_token = forge.add_token("nightshift")
    yield forge
    await forge.stop()


async def told(plane: ControlPlane, text: str, approves: str | None = None) -> str:
    """The output of the turn's last tool call."""
    turn = await plane.say(text, approves=approves)
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED
    return plane.of(ItemKind.TOOL_OUTPUT)[-1].text


def calls(plane: ControlPlane) -> list[str]:
    return [item.id for item in plane.of(ItemKind.TOOL_CALL)]


def notices(plane: ControlPlane, code: str) -> list[str]:
    return [item.text for item in plane.of(ItemKind.NOTICE) if item.code == code]


async def test_a_yes_allows_exactly_that_once(plane: ControlPlane, machine: Machine) -> None:
    command = f"!shell printenv NO_TOKEN; echo ran >> {machine.folder}/ran"
    ran = machine.folder / "ran"
    await machine.start()
    assert "it needs the user's yes. It prints a secret of the environment." in await told(plane, command)
    (approval,) = [item.effect.approval for item in plane.items if item.effect and item.effect.approval]
    assert approval.action.endswith(command.removeprefix("!shell "))
    assert len(notices(plane, "approval_needed")) == 1
    first = calls(plane)[0]

    assert "needs the user's yes" in await told(plane, command), "a message alone is a no"
    assert not ran.exists()
    assert "needs the user's yes" in await told(plane, f"{command} # changed", approves=first)
    assert not ran.exists()
    await machine.kill()  # the yes is in the log, not in the worker
    await machine.start()
    assert "exit code" in await told(plane, command)
    assert ran.read_text() == "ran\n"
    assert len(notices(plane, "approval_used")) == 1
    await machine.kill()
    await machine.start()
    assert "needs the user's yes" in await told(plane, command), "it was for once"
    assert "needs the user's yes" in await told(plane, command, approves=first), "so is a second one for that call"
    assert ran.read_text() == "ran\n"


async def test_the_turn_ends_though_the_worker_died_after_the_question(plane: ControlPlane, machine: Machine) -> None:
    plane.hold_before = lambda item: item.code == "approval_needed"
    turn = await plane.say("!shell printenv NO_TOKEN")
    await machine.start()
    await plane.held.wait()
    await machine.kill()
    await plane.release(drop=True)
    await machine.start()
    report = await plane.answered(turn)
    assert (report.kind, report.needs_user) == (ReportKind.COMPLETED, Need.APPROVAL)
    assert len(plane.of(ItemKind.TOOL_CALL)) == 1
    assert len(notices(plane, "approval_needed")) == 1


async def test_a_yes_is_used_up_before_anything_is_done(plane: ControlPlane, machine: Machine) -> None:
    command = "!shell printenv NO_TOKEN; echo ran >> ran"
    await machine.start()
    await told(plane, command)

    def of_the_command(item: NewItem) -> bool:
        return item.kind is ItemKind.TOOL_OUTPUT

    plane.hold_before = of_the_command
    turn = await plane.say(command, approves=calls(plane)[0])
    await plane.held.wait()
    assert len(notices(plane, "approval_used")) == 1
    await machine.kill()
    await plane.release(drop=True)
    await machine.start()
    await plane.answered(turn)
    assert "interrupted by a restart" in plane.of(ItemKind.TOOL_OUTPUT)[1].text
    assert "needs the user's yes" in await told(plane, command)


PREPARE = (
    f"!shell git clone -q {{url}}/{REPOSITORY}.git mine && cd mine && git switch -qc x"
    " && mkdir -p .github/workflows && echo 'on: push' > .github/workflows/ci.yml && git add . && git commit -qm ci"
    " && printf '#!/bin/sh\\ncat > ../own-hook\\n' > .git/hooks/pre-push && chmod +x .git/hooks/pre-push"
    " && printf '#!/bin/sh\\ncd mine && git push -q \"$@\" 2>&1' > ../push.sh && chmod +x ../push.sh"
)


async def test_a_push_is_judged_wherever_it_hides(plane: ControlPlane, machine: Machine, forge: Forge) -> None:
    await machine.start()
    await told(plane, PREPARE.replace("{url}", forge.url))
    own_hook = machine.folder / "workspace" / "own-hook"
    push = f"!shell cd {machine.folder}/workspace && ./push.sh origin"
    output = await told(plane, f"{push} x")
    assert "It changes what runs in CI: .github/workflows/ci.yml." in output
    assert await forge.state.git(REPOSITORY).resolve("refs/heads/x") is None
    assert not own_hook.exists()
    asked = calls(plane)[-1]
    output = await told(plane, f"{push} x", approves=asked)
    assert "exit code 0" in output, output
    tip = await forge.state.git(REPOSITORY).resolve("refs/heads/x")
    assert tip
    assert "refs/heads/x" in own_hook.read_text(), "the repository's own hook runs"

    for refspec, reason in ((":x", "deletes x"), ("x:main", "goes to the default branch, main")):
        output = await told(plane, f"{push} {refspec}")
        assert reason in output, output
    amend = f"!shell cd {machine.folder}/workspace/mine && git commit -q --amend -m other && git push origin x"
    assert "rejected" in await told(plane, amend), "git itself refuses, so nobody is asked"
    assert len([item for item in plane.items if item.effect and item.effect.approval]) == 3
    output = await told(plane, f"{push} --force x")
    assert "rewrites what is published on x" in output
    assert await forge.state.git(REPOSITORY).resolve("refs/heads/x") == tip
    hooks = await told(plane, f"!shell cd {machine.folder}/workspace/mine && git config core.hooksPath || echo none")
    assert hooks.startswith("none"), "a repository's own hooks can be installed"
