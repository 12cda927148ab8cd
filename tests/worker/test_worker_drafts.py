"""What the model is writing reaches the page while it writes, and never holds anybody up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from demo.model import Fault, ScriptedModel
from nightshift.errors import Retryable
from nightshift.models import MAX_DRAFT, Draft, ItemKind, ReportKind
from tests.worker.conftest import API_KEY, Machine
from tests.worker.controlplane import ControlPlane
from worker.drafts import Drafts
from worker.masking import Secrets

WORDS = " ".join(f"word{number}" for number in range(60))


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_an_answer_is_seen_before_it_is_stored(
    plane: ControlPlane, model: ScriptedModel, machine: Machine, api: Any
) -> None:
    machine.endpoint.api = api
    model.faults += [Fault(pause=0.05)]
    await machine.start()
    turn = await plane.say(f"!say {WORDS}")
    await plane.until(lambda: len(plane.drafts) > 3)
    assert not plane.finals()
    await plane.answered(turn)
    (answer,) = plane.of(ItemKind.ASSISTANT_MESSAGE)
    drafts = [draft for draft in plane.drafts if draft.kind == "text"]
    assert {draft.id for draft in drafts} == {answer.id}, "the page knows which item takes their place"
    assert all(WORDS.startswith(draft.text.rstrip()) for draft in drafts)
    assert [len(draft.text) for draft in drafts] == sorted(len(draft.text) for draft in drafts)


async def test_a_call_is_seen_while_its_arguments_are_written(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    model.faults += [Fault(pause=0.05)]
    await machine.start()
    turn = await plane.say(f"!shell echo {WORDS}")
    await plane.until(lambda: any(draft.kind == "tool" for draft in plane.drafts))
    assert not plane.of(ItemKind.TOOL_CALL)
    await plane.answered(turn)
    seen = next(draft for draft in plane.drafts if draft.kind == "tool")
    assert seen.text.startswith("shell ")
    assert seen.id == plane.of(ItemKind.TOOL_CALL)[0].id


@pytest.mark.parametrize("status", [0, 404, 500])
async def test_a_control_plane_that_does_not_take_them_holds_nothing_up(
    plane: ControlPlane, model: ScriptedModel, machine: Machine, status: int
) -> None:
    """0: it does not even answer."""
    plane.draft_statuses.extend([status] * 1000)
    await machine.start()
    report = await plane.answered(await plane.say(f"!shell echo {WORDS}\n!shell echo 2"))
    assert report.kind is ReportKind.COMPLETED
    assert plane.drafts == []


class Sent:
    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.blocked = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, draft: Draft) -> None:
        self.drafts.append(draft)
        self.blocked.set()
        await self.go.wait()
        raise Retryable("and then it is lost")


async def test_what_could_not_be_sent_in_time_is_left_out() -> None:
    sent = Sent()
    drafts = Drafts(sent, Secrets())
    running = asyncio.create_task(drafts.run())
    show = drafts.of(1, "1.r.")
    show(0, "text", "one ")
    await sent.blocked.wait()
    for number in range(100):
        show(0, "text", f"one {number} ")
    show(1, "tool", "shell {} ")
    sent.go.set()
    async with asyncio.timeout(10):
        while len(sent.drafts) < 3:
            await asyncio.sleep(0.01)
    assert [(draft.id, draft.text) for draft in sent.drafts] == [
        ("1.r.0", "one "),
        ("1.r.0", "one 99 "),
        ("1.r.1", "shell {} "),
    ]
    running.cancel()


@pytest.mark.parametrize("cut", range(1, len(API_KEY) + 1))
async def test_a_secret_is_not_seen_not_even_its_beginning(cut: int) -> None:
    sent = Sent()
    sent.go.set()
    drafts = Drafts(sent, Secrets(API_KEY))
    running = asyncio.create_task(drafts.run())
    show = drafts.of(1, "1.r.")
    long = "x " * MAX_DRAFT
    show(0, "text", long + "it is " + API_KEY[:cut])
    await sent.blocked.wait()
    running.cancel()
    (draft,) = sent.drafts
    assert draft.text.endswith("it is ")
    assert len(draft.text) == MAX_DRAFT
    assert draft.offset == len(long) + len("it is ") - MAX_DRAFT
    assert drafts.of(2, "2.r.")
