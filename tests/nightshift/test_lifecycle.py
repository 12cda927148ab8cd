"""`advance` against a model of the world: random interleavings of messages, reports, controls, timers, machine
faults, and lost, doubled or late observations, checked against the invariants of the design."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nightshift.lifecycle import Action, Seen, State, advance, looks_at_machine, start_failed
from nightshift.models import Control, ControlKind, Failure, MachineState, Need, Phase, Power, Report, ReportKind
from nightshift.settings import Deadlines

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEADLINES = Deadlines()
TICK = timedelta(seconds=1)


class World:
    """The smallest honest world: a log, one machine, a worker that serves what it sees, and a clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.seq = 0
        self.messages: list[int] = []
        self.served: set[int] = set()
        self.controls: list[Control] = []
        self.reports: list[Report] = []
        self.power = Power.ABSENT
        self.machine_generation = 0
        self.worker_up = False
        self.worker_may_start = True
        self.stuck = False
        self.heard: tuple[int, datetime] | None = None
        self.state = State(session_id="s-1")
        self.purged = False
        self.started_at: datetime | None = None
        self.acted: list[Action] = []

    def message(self) -> None:
        self.seq += 1
        self.messages.append(self.seq)

    def control(self, kind: ControlKind) -> None:
        seq = len(self.controls) + 1
        self.controls.append(Control(kind=kind, at_seq=self.seq, seq=seq, created_at=self.now))

    def report(self, kind: ReportKind, needs_user: Need | None = None) -> None:
        generation = self.machine_generation
        seq = len(self.reports) + 1
        self.reports.append(
            Report(
                kind=kind,
                generation=generation,
                through_seq=max(self.served, default=0),
                needs_user=needs_user,
                seq=seq,
                created_at=self.now,
            )
        )
        self.heard = (generation, self.now)

    def worker_runs(self) -> None:
        """The worker reads the log, serves all of it and says so."""
        if self.power is Power.RUNNING and not self.worker_up and self.worker_may_start:
            self.worker_up = True
            self.report(ReportKind.STARTED)
        if self.worker_up:
            self.heard = (self.machine_generation, self.now)
            if unserved := set(self.messages) - self.served:
                self.served |= unserved
                self.report(ReportKind.COMPLETED)

    def machine_moves(self) -> None:
        if self.stuck:
            return
        if self.power is Power.STARTING:
            self.power = Power.RUNNING
        elif self.power is Power.STOPPING:
            self.power, self.worker_up = Power.DEALLOCATED, False

    def observe(self) -> Seen:
        looks = looks_at_machine(self.state, self.now, DEADLINES)
        machine = MachineState(power=self.power, generation=self.machine_generation) if looks else None
        return Seen(
            generation=max((each.generation for each in self.acted), default=0),
            item_seq=self.seq,
            last_message_seq=max(self.messages, default=0),
            controls=[each for each in self.controls if each.seq > self.state.control_seq],
            reports=[each for each in self.reports if each.seq > self.state.report_seq],
            heard=self.heard,
            machine=machine,
            deadlines=DEADLINES,
        )

    def step(self, seen: Seen | None = None) -> None:
        if self.purged:
            return
        self.state, actions = advance(self.state, seen or self.observe(), self.now)
        self.carry_out(actions)

    def carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            self.acted.append(action)
            match action.name:
                case "start_machine":
                    if action.generation > self.machine_generation:
                        self.machine_generation, self.worker_up = action.generation, False
                        self.power, self.started_at = Power.STARTING, self.now
                case "deallocate_machine":
                    if self.power not in (Power.ABSENT, Power.DEALLOCATED):
                        self.power, self.worker_up = Power.STOPPING, False
                case "delete_machine":
                    if not self.stuck:
                        self.power, self.worker_up = Power.ABSENT, False
                case "purge_session":
                    self.purged = True
                case _:
                    pass

    def settle(self, limit: int = 400) -> None:
        """Let a healthy world run by the orchestrator's own timers until nothing but idling is left."""
        self.stuck, self.worker_may_start = False, True
        for _ in range(limit):
            self.machine_moves()
            self.worker_runs()
            self.step()
            resting = self.state.phase in (Phase.WAITING, Phase.STOPPED, Phase.FAILED)
            if self.purged or (resting and self.calm()):
                return
            self.now = max(self.now + TICK, self.state.wake_at or self.now)
        raise AssertionError(f"never settled: {self.state}")

    def calm(self) -> bool:
        state = self.state
        taken_in = (state.report_seq, state.control_seq, state.last_message_seq)
        written = (len(self.reports), len(self.controls), max(self.messages, default=0))
        return taken_in == written and not state.needs_work


class SessionMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.world.message()

    @rule()
    def message(self) -> None:
        self.world.message()

    @rule(kind=st.sampled_from(list(ControlKind)))
    def control(self, kind: ControlKind) -> None:
        self.world.control(kind)

    @rule(seconds=st.sampled_from([0, 1, 5, 90, 200, 700, 2000, 50_000, 700_000]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule()
    def machine_moves(self) -> None:
        self.world.machine_moves()

    @rule()
    def worker_runs(self) -> None:
        self.world.worker_runs()

    @rule()
    def step(self) -> None:
        self.world.step()

    @rule()
    def observation_repeated(self) -> None:
        seen = self.world.observe()
        self.world.step(seen)
        self.world.step(seen)

    @rule()
    def step_lost_after_its_actions(self) -> None:
        """The host dies after the actions and before the state was kept."""
        before = self.world.state
        self.world.step()
        if not self.world.purged:
            self.world.state = before

    @precondition(lambda self: self.world.power is Power.RUNNING)
    @rule()
    def worker_dies(self) -> None:
        self.world.worker_up, self.world.worker_may_start = False, False

    @rule()
    def worker_mended(self) -> None:
        self.world.worker_may_start = True

    @rule(power=st.sampled_from([Power.FAILED, Power.ABSENT, Power.DEALLOCATED]))
    def machine_breaks(self, power: Power) -> None:
        if self.world.power is not Power.ABSENT:
            self.world.power, self.world.worker_up = power, False

    @rule(stuck=st.booleans())
    def machine_sticks(self, stuck: bool) -> None:
        self.world.stuck = stuck

    @rule()
    def start_refused(self) -> None:
        if self.world.state.phase is Phase.STARTING:
            failure = Failure(stage="machine start", reason="No quota.", advice="Ask for more.")
            seen = Seen(deadlines=DEADLINES)
            self.world.state, actions = start_failed(self.world.state, failure, seen, self.world.now)
            self.world.carry_out(actions)

    @invariant()
    def every_passing_phase_has_a_time_to_look_again(self) -> None:
        state = self.world.state
        if state.phase in (Phase.STARTING, Phase.WORKING, Phase.WAITING, Phase.STOPPING, Phase.DELETING):
            assert state.wake_at is not None
        if state.phase in (Phase.STARTING, Phase.WAITING, Phase.STOPPING, Phase.DELETING):
            assert state.deadline is not None
        if state.phase is Phase.FAILED:
            assert state.machine_deleted or state.deadline is not None

    @invariant()
    def no_generation_is_skipped_or_reused(self) -> None:
        starts = [each.generation for each in self.world.acted if each.name == "start_machine"]
        assert sorted(set(starts)) == list(range(1, max(starts, default=0) + 1))

    @invariant()
    def each_start_is_announced_before_it_is_made(self) -> None:
        for index, action in enumerate(self.world.acted):
            if action.name == "start_machine":
                notice = self.world.acted[index - 1]
                assert (notice.code, notice.generation) == ("machine_starting", action.generation)

    def teardown(self) -> None:
        """However it went: once the world is healthy, everything said is served, or waits for the user's word."""
        if not hasattr(self, "world") or self.world.purged:
            return
        world = self.world
        world.settle()
        deleted = any(each.kind is ControlKind.DELETE for each in world.controls)
        if deleted:
            assert world.purged
            given_up = world.state.asks >= DEADLINES.tries  # the janitor's: it has no session any more
            assert world.power is Power.ABSENT or given_up
            return
        held_back = world.state.stopped_seq
        assert {seq for seq in world.messages if seq > held_back} <= world.served
        world.message()
        world.settle()
        assert set(world.messages) == world.served
        # Nobody says anything more: the machine goes, and nothing of it is left after retention.
        for _ in range(200):
            world.now = max(world.now + TICK, world.state.wake_at or world.now)
            world.machine_moves()
            world.worker_runs()
            world.step()
        assert world.state.phase in (Phase.STOPPED, Phase.FAILED)
        assert world.power is Power.ABSENT


TestSession = SessionMachine.TestCase
TestSession.settings = hypothesis_settings(max_examples=300, stateful_step_count=40, deadline=None)


def run_until(world: World, phase: Phase) -> None:
    for _ in range(1000):
        world.machine_moves()
        world.worker_runs()
        world.step()
        if world.state.phase is phase:
            return
        world.now = max(world.now + TICK, world.state.wake_at or world.now)
    raise AssertionError(f"never {phase}: {world.state}")


def test_the_plain_life() -> None:
    world = World()
    world.message()
    phases: list[Phase] = []
    for _ in range(60):
        world.step()
        world.machine_moves()
        world.worker_runs()
        if not phases or phases[-1] is not world.state.phase:
            phases.append(world.state.phase)
        world.now = max(world.now + TICK, world.state.wake_at or world.now)
    assert phases == [Phase.STARTING, Phase.WAITING, Phase.STOPPING, Phase.STOPPED]
    assert (world.state.turns, world.power, world.state.machine_deleted) == (1, Power.ABSENT, True)


def test_a_message_while_stopping_starts_the_machine_again_once_it_has_stopped() -> None:
    world = World()
    world.message()
    run_until(world, Phase.STOPPING)
    world.message()
    world.step()
    assert world.state.phase is Phase.STOPPING
    run_until(world, Phase.STARTING)
    assert world.state.generation == 2
    world.settle()
    assert world.served == {1, 2}


def test_a_worker_that_never_comes_is_tried_three_times_and_then_told() -> None:
    world = World()
    world.worker_may_start = False
    world.message()
    run_until(world, Phase.FAILED)
    assert world.state.generation == DEADLINES.tries
    notice = [each for each in world.acted if each.code == "session_failed"]
    assert len(notice) == 1
    assert "10 minutes" in notice[0].text
    assert "Send a message to try again" in notice[0].text
    world.worker_may_start = True
    world.message()
    world.settle()
    assert world.served == {1, 2}


def test_a_silent_worker_is_started_again_and_the_turn_goes_on() -> None:
    world = World()
    world.message()
    run_until(world, Phase.WAITING)
    world.message()
    world.step()
    assert world.state.phase is Phase.WORKING
    world.worker_up = False
    world.power = Power.FAILED
    world.now += DEADLINES.silence
    world.step()
    assert (world.state.phase, world.state.generation) == (Phase.STARTING, 2)
    world.settle()
    assert world.served == {1, 2}


def test_a_turn_whose_worker_died_before_its_report_is_counted_once() -> None:
    world = World()
    world.message()
    world.step()
    world.served = {1}  # by the worker before this one, which stored its answer and died
    world.report(ReportKind.STARTED)
    world.step()
    assert (world.state.answered_seq, world.state.turns) == (1, 1)
    world.report(ReportKind.COMPLETED)
    world.step()
    assert (world.state.answered_seq, world.state.turns) == (1, 1)


def test_what_a_session_needs_of_its_user_is_told_until_they_say_something() -> None:
    world = World()
    world.worker_may_start = False
    world.message()
    world.step()
    world.served = {1}
    world.report(ReportKind.STARTED)
    world.step()
    assert world.state.needs_user is None
    world.report(ReportKind.COMPLETED, Need.APPROVAL)
    world.step()
    world.report(ReportKind.STARTED)  # a worker of a later start
    run_until(world, Phase.STOPPED)
    assert world.state.needs_user is Need.APPROVAL
    anew = World()  # an orchestration whose task hub was lost
    anew.served, anew.messages, anew.seq, anew.reports = world.served, world.messages, world.seq, world.reports
    anew.step()
    assert anew.state.needs_user is Need.APPROVAL
    world.message()
    world.step()
    assert world.state.needs_user is None
    world.served = {1, 2}
    world.report(ReportKind.COMPLETED)
    world.step()
    assert world.state.needs_user is None


def test_a_failed_session_needs_its_user_until_it_is_deleted() -> None:
    world = World()
    world.message()
    world.worker_may_start = False
    run_until(world, Phase.FAILED)
    assert world.state.needs_user is Need.FAILURE
    world.control(ControlKind.DELETE)
    world.step()
    assert world.state.needs_user is None


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.WAITING, Phase.STOPPING, Phase.STOPPED, Phase.FAILED])
def test_delete_ends_every_phase_and_leaves_no_machine(phase: Phase) -> None:
    world = World()
    world.message()
    if phase is Phase.FAILED:
        world.worker_may_start = False
    run_until(world, phase)
    world.control(ControlKind.DELETE)
    world.settle()
    assert world.purged
    assert world.power is Power.ABSENT


def test_stop_holds_the_message_back_until_the_next_word() -> None:
    world = World()
    world.message()
    world.step()
    world.control(ControlKind.STOP)
    world.worker_may_start = False
    run_until(world, Phase.STOPPED)
    assert world.served == set()
    world.control(ControlKind.RESUME)
    world.settle()
    assert world.served == {1}


def test_a_machine_past_its_age_is_replaced_and_the_work_goes_on() -> None:
    world = World()
    world.message()
    run_until(world, Phase.WAITING)
    world.message()
    world.step()
    world.worker_may_start = world.worker_up = False
    world.now += DEADLINES.machine_age
    world.heard = (1, world.now)
    world.step()
    assert world.state.phase is Phase.STOPPING
    world.settle()
    assert (world.state.generation, world.served) == (2, {1, 2})
