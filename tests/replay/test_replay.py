"""The replay gate, and proof that it closes: today's orchestrator passes, each of its changed versions is found."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from durabletask.task import RetryPolicy
from durabletask.worker import _RuntimeOrchestrationContext  # pyright: ignore[reportPrivateUsage]

import function_app
from tests.replay.gate import Mismatch, replay
from tests.replay.recording import HISTORIES, Recording
from tests.replay.sessions import SESSIONS, record

# The installed Durable library decodes payloads in the way that it advises against.
pytestmark = pytest.mark.filterwarnings("ignore:azure.functions :DeprecationWarning")

IMPATIENT = RetryPolicy(first_retry_interval=timedelta(seconds=9), max_number_of_attempts=2)
RECORDED = sorted(HISTORIES.rglob("*.json"))
ALL = set(SESSIONS)

# The orchestrator as it is; the changes below stand in its module instead of its parts.
orchestrator: Any = function_app.orchestration
call: Any = orchestrator._call
carry_out: Callable[..., Generator[Any, Any, Any]] = orchestrator._carry_out
sleep: Any = orchestrator._sleep
status: Any = orchestrator._status
advance: Any = orchestrator.advance
continue_as_new = _RuntimeOrchestrationContext.continue_as_new


def load(path: Path) -> Recording:
    return Recording.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_sessions_in_flight_survive_this_version(path: Path) -> None:
    await replay(load(path))


# --- a changed orchestrator is found ---------------------------------------------------------------------------


def renamed(ctx: Any, activity: str, input: dict[str, Any]) -> Any:
    return call(ctx, "look" if activity == "observe" else activity, input)


def with_another_input(ctx: Any, activity: str, input: dict[str, Any]) -> Any:
    return call(ctx, activity, input | {"generation": 0} if activity == "start_machine" else input)


def with_a_field_less(ctx: Any, activity: str, input: dict[str, Any]) -> Any:
    return call(ctx, activity, {name: value for name, value in input.items() if name != "level"})


def with_a_further_call(ctx: Any, *arguments: Any) -> Generator[Any, Any, Any]:
    yield call(ctx, "ring_worker", {})
    return (yield from carry_out(ctx, *arguments))


def with_a_further_call_at_the_end(ctx: Any, before: Any, state: Any, actions: Any) -> Generator[Any, Any, Any]:
    failure = yield from carry_out(ctx, before, state, actions)
    if state.phase == "deleted":
        call(ctx, "ring_worker", {})  # begun and not waited for
    return failure


def in_reverse_order(*arguments: Any) -> Any:
    state, actions = advance(*arguments)
    return state, actions[::-1]


def without_timer(ctx: Any, doorbells: Any, wake_at: Any) -> Any:
    return sleep(ctx, doorbells, None)


def with_a_later_timer(ctx: Any, doorbells: Any, wake_at: Any) -> Any:
    return sleep(ctx, doorbells, wake_at and wake_at + timedelta(seconds=1))


def with_another_status(state: Any) -> dict[str, Any]:
    return status(state) | {"stage": "somewhere"}


def without_saved_events(ctx: Any, new_input: Any, *, save_events: bool, new_version: str) -> None:
    continue_as_new(ctx, new_input, new_version=new_version)


@dataclass(frozen=True)
class Change:
    """A part of the orchestrator, what stands in its place, what the gate says, and which sessions tell."""

    part: str
    instead: Any
    found: str
    by: set[str]


CHANGES = {
    "activity renamed": Change("_call", renamed, '+ answer.actions[0].scheduleTask.name: "look"', ALL),
    "another input": Change("_call", with_another_input, "+ answer.actions[0].scheduleTask.input.generation: 0", ALL),
    "a field less": Change("_call", with_a_field_less, "- answer.actions[0].scheduleTask.input.level", ALL),
    "a further call": Change("_carry_out", with_a_further_call, '+ answer.actions[0].scheduleTask.name: "ring_', ALL),
    "a further call at the end": Change(
        "_carry_out", with_a_further_call_at_the_end, '+ answer.actions: {"id"', {"wake", "deleted"}
    ),
    "two calls swapped": Change("advance", in_reverse_order, '+ answer.actions[0].scheduleTask.name: "start_', ALL),
    "no timer": Change("_sleep", without_timer, "- answer.actions", ALL),
    "a later timer": Change("_sleep", with_a_later_timer, "+ answer.actions[0].createTimer.fireAt", ALL),
    "one wake fewer": Change("WAKES_PER_RUN", orchestrator.WAKES_PER_RUN - 1, "completeOrchestration", {"long"}),
    "one wake more": Change("WAKES_PER_RUN", orchestrator.WAKES_PER_RUN + 1, "completeOrchestration", {"long"}),
    "a doorbell less": Change(
        "DOORBELLS", ("user_message", "worker_report"), "- answer.actions", {"wake", "steered", "deleted"}
    ),
    "another status": Change("_status", with_another_status, '+ answer.customStatus.stage: "somewhere"', ALL),
    "another retry policy": Change("_PATIENT", IMPATIENT, "createTimer.fireAt", {"faults"}),
    "another pause": Change("_AFTER_FAULT", timedelta(hours=1), "createTimer.fireAt", {"faults"}),
    "events lost": Change("continue_as_new", without_saved_events, "carryoverEvents", {"long"}),
    "a new version": Change("VERSION", "2", '+ answer.actions[0].completeOrchestration.newVersion: "2"', {"long"}),
}


async def mismatches() -> dict[str, str]:
    """What the gate says of each session that it does not let pass."""
    found: dict[str, str] = {}
    for name in SESSIONS:
        try:
            await replay(load(HISTORIES / f"{name}.json"))
        except Mismatch as mismatch:
            found[name] = str(mismatch)
    return found


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_changed_orchestrator_is_found(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_library = change.part == "continue_as_new"
    monkeypatch.setattr(_RuntimeOrchestrationContext if of_the_library else orchestrator, change.part, change.instead)
    found = await mismatches()
    assert found.keys() == change.by
    assert [text for text in found.values() if change.found not in text] == []


async def test_a_payload_may_gain_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field with a default is no other way: the activities of this version know what to do without it."""

    def with_a_further_field(ctx: Any, activity: str, input: dict[str, Any]) -> Any:
        return call(ctx, activity, input | {"priority": 1})

    def with_a_further_status(state: Any) -> dict[str, Any]:
        return status(state) | {"priority": 1}

    monkeypatch.setattr(orchestrator, "_call", with_a_further_field)
    monkeypatch.setattr(orchestrator, "_status", with_a_further_status)
    assert await mismatches() == {}


def test_new_sessions_begin_on_the_version_of_the_code() -> None:
    host = json.loads((HISTORIES.parents[2] / "host.json").read_text("utf-8"))
    assert host["extensions"]["durableTask"]["defaultVersion"] == orchestrator.VERSION


# --- the recordings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SESSIONS)
async def test_a_recording_follows_from_its_story_alone(name: str) -> None:
    recording = await record(SESSIONS[name])
    text = recording.dumps()
    assert (await record(SESSIONS[name])).dumps() == text
    assert Recording.loads(text).episodes == recording.episodes
    await replay(Recording.loads(text))


def test_every_session_is_recorded() -> None:
    assert {path.stem for path in HISTORIES.glob("*.json")} == ALL


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recording_holds_no_secret_and_no_path(path: Path) -> None:
    text = path.read_text("utf-8")
    token = "eyJ"  # how every JSON Web Token begins
    for private in (str(Path(__file__).parents[2]), tempfile.gettempdir(), ".py", token, "signs the"):
        assert private not in text
