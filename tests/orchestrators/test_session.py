"""The durable generator on durabletask's in-memory backend: real events, timers, replays and continue-as-new."""

from __future__ import annotations

import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from durabletask.client import TaskHubGrpcClient
from durabletask.task import ActivityContext
from durabletask.worker import TaskHubGrpcWorker

from embedded.taskhub import TaskHub
from nightshift.lifecycle import Action, Seen, State, looks_at_machine
from nightshift.models import Control, ControlKind, Failure, MachineState, Phase, Power, Report, ReportKind
from nightshift.settings import Deadlines
from orchestrators.session import NAME, session

ID = "s-1"
QUICK = Deadlines(
    idle=timedelta(seconds=30),
    poll=timedelta(milliseconds=50),
    silence=timedelta(seconds=30),
    start=timedelta(seconds=20),
)


class Plant:
    """What the activities work on: a log, a machine that starts at once, a worker that serves at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.messages = 0
        self.controls: list[Control] = []
        self.reports: list[Report] = []
        self.power = Power.ABSENT
        self.generation = 0
        self.calls: list[str] = []
        self.projected: list[State] = []
        self.refuse: Failure | None = None
        self.break_observe = 0

    def report(self, kind: ReportKind) -> None:
        seq = len(self.reports) + 1
        self.reports.append(
            Report(
                kind=kind, generation=self.generation, through_seq=self.messages, seq=seq, created_at=datetime.now(UTC)
            )
        )

    def observe(self, _: ActivityContext, input: dict[str, Any]) -> dict[str, Any]:
        state = State.model_validate(input["state"])
        with self.lock:
            if self.break_observe:
                self.break_observe -= 1
                raise RuntimeError("the store hiccups")
            now = datetime.now(UTC)
            machine = None
            if looks_at_machine(state, now, QUICK):
                machine = MachineState(power=self.power, generation=self.generation)
                if self.power is Power.STOPPING:
                    self.power = Power.DEALLOCATED
            if self.power is Power.RUNNING and self.messages > max((r.through_seq for r in self.reports), default=0):
                self.report(ReportKind.COMPLETED)
            return Seen(
                generation=state.generation,
                last_message_seq=self.messages,
                controls=[each for each in self.controls if each.seq > state.control_seq],
                reports=[each for each in self.reports if each.seq > state.report_seq],
                heard=(self.generation, now) if self.power is Power.RUNNING else None,
                machine=machine,
                deadlines=QUICK,
            ).model_dump(mode="json")

    def project(self, _: ActivityContext, input: dict[str, Any]) -> None:
        self.projected.append(State.model_validate(input["state"]))

    def start_machine(self, _: ActivityContext, input: dict[str, Any]) -> dict[str, Any] | None:
        if self.refuse is not None:
            return self.refuse.model_dump(mode="json")
        self.generation, self.power = Action.model_validate(input).generation, Power.RUNNING
        self.calls.append("start_machine")
        return None

    def deallocate_machine(self, _: ActivityContext, input: dict[str, Any]) -> None:
        self.calls.append("deallocate_machine")
        self.power = Power.ABSENT if self.power is Power.ABSENT else Power.STOPPING

    def delete_machine(self, _: ActivityContext, input: dict[str, Any]) -> None:
        self.calls.append("delete_machine")
        self.power = Power.ABSENT

    def post_notice(self, _: ActivityContext, input: dict[str, Any]) -> None:
        self.calls.append(f"notice {input['code']}")

    def ring_worker(self, _: ActivityContext, input: dict[str, Any]) -> None:
        self.calls.append("ring_worker")

    def purge_session(self, _: ActivityContext, input: dict[str, Any]) -> None:
        self.calls.append("purge_session")


class Run:
    def __init__(self, plant: Plant, client: TaskHubGrpcClient) -> None:
        self.plant = plant
        self.client = client

    def begin(self) -> None:
        self.plant.messages = 1
        self.client.schedule_new_orchestration(NAME, input={"session_id": ID}, instance_id=ID)

    def say(self) -> None:
        self.plant.messages += 1
        self.client.raise_orchestration_event(ID, "user_message", data={"session_id": ID})

    def control(self, kind: ControlKind) -> None:
        seq = len(self.plant.controls) + 1
        made = Control(kind=kind, seq=seq, at_seq=self.plant.messages, created_at=datetime.now(UTC))
        self.plant.controls.append(made)
        self.client.raise_orchestration_event(ID, "control", data={"session_id": ID})

    def until(self, phase: Phase, answered: int | None = None) -> State:
        """The newest projection, once it is so; the backend's own timers drive it."""
        patience = datetime.now(UTC) + timedelta(seconds=40)
        while datetime.now(UTC) < patience:
            if self.plant.projected:
                state = self.plant.projected[-1]
                if state.phase is phase and (answered is None or state.answered_seq >= answered):
                    return state
            threading.Event().wait(0.02)
        raise AssertionError(f"never {phase}: {self.plant.projected[-1:]} {self.client.get_orchestration_state(ID)}")


@pytest.fixture
def run() -> Generator[Run]:
    plant = Plant()
    hub = TaskHub()
    address = hub.start()
    worker = TaskHubGrpcWorker(host_address=address)
    worker.add_orchestrator(session)
    for activity in (plant.observe, plant.project, plant.start_machine, plant.deallocate_machine):
        worker.add_activity(activity)
    for activity in (plant.delete_machine, plant.post_notice, plant.ring_worker, plant.purge_session):
        worker.add_activity(activity)
    worker.start()
    client = TaskHubGrpcClient(host_address=address)
    yield Run(plant, client)
    worker.stop()
    client.close()
    hub.stop()


def test_sixty_messages_are_served_and_the_history_stays_small(run: Run) -> None:
    run.begin()
    run.until(Phase.WAITING, answered=1)
    longest = 0
    for n in range(2, 61):
        run.say()
        run.client.raise_orchestration_event(ID, "worker_report", data={"session_id": ID})
        if n % 10 == 0:
            run.until(Phase.WAITING, answered=n)
            longest = max(longest, len(run.client.get_orchestration_history(ID)))
    state = run.until(Phase.WAITING, answered=60)
    assert state.generation == 1
    assert run.plant.calls.count("start_machine") == 1
    assert 0 < longest < 500
    revisions = [each.revision for each in run.plant.projected]
    assert revisions == sorted(set(revisions))


def test_a_doorbell_rung_for_nothing_changes_nothing(run: Run) -> None:
    run.begin()
    run.until(Phase.WAITING, answered=1)
    before = len(run.plant.projected)
    for name in ("user_message", "worker_report", "control") * 5:
        run.client.raise_orchestration_event(ID, name, data=None)
    run.say()
    run.until(Phase.WAITING, answered=2)
    assert {each.phase for each in run.plant.projected[before:]} <= {Phase.WORKING, Phase.WAITING}


def test_a_message_whose_bell_was_lost_is_served_by_the_timer(run: Run) -> None:
    run.begin()
    run.until(Phase.WAITING, answered=1)
    run.control(ControlKind.STOP)
    run.until(Phase.STOPPING)
    run.plant.messages += 1
    state = run.until(Phase.WAITING, answered=2)
    assert state.generation == 2


def test_a_start_refused_for_good_ends_in_failed_and_the_next_message_tries_again(run: Run) -> None:
    run.plant.refuse = Failure(stage="machine start", reason="No quota for this size.", advice="Ask for more.")
    run.begin()
    state = run.until(Phase.FAILED)
    assert state.failure == run.plant.refuse
    assert run.client.get_orchestration_state(ID).runtime_status.name == "RUNNING"  # type: ignore[union-attr]
    run.plant.refuse = None
    run.say()
    run.until(Phase.WAITING, answered=2)


def test_an_activity_that_hiccups_is_tried_again(run: Run) -> None:
    run.plant.break_observe = 2
    run.begin()
    assert run.until(Phase.WAITING, answered=1).generation == 1


def test_delete_ends_the_orchestration_after_the_machine_is_gone(run: Run) -> None:
    run.begin()
    run.until(Phase.WAITING, answered=1)
    run.control(ControlKind.DELETE)
    state = run.client.wait_for_orchestration_completion(ID, timeout=30)
    assert state is not None
    assert state.runtime_status.name == "COMPLETED"
    assert run.plant.calls[-2:] == ["delete_machine", "purge_session"]
