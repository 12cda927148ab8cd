"""Every rule of a session's life, and no I/O: `advance(state, seen, now) -> (state, actions)`.

The orchestrator is a controller. It observes, calls `advance`, runs the actions as activities, and sleeps
until somebody rings or `state.wake_at` comes. `advance` may be called any number of times with the same
observation: actions are keyed, cursors only grow, and a rule fires on what is so, never on what just happened.

    starting --started--> working <--> waiting --idle--> stopping --> stopped --retention--> (machine deleted)
        |                    |  silence: start again           |  unserved message: start again
        +--- deadline, or tries used up ---> failed --message or resume--> starting
    any phase --delete--> deleting --> deleted
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from nightshift.models import (
    Control,
    ControlKind,
    Effect,
    Failure,
    MachineState,
    Need,
    Phase,
    Power,
    PullRequest,
    Report,
    ReportKind,
    Todo,
    UsageTotal,
)
from nightshift.settings import Deadlines

DOWN = {Power.ABSENT, Power.DEALLOCATED}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class State(_Frozen):
    """All that an orchestration remembers; survives continue-as-new as its input."""

    session_id: str
    phase: Phase = Phase.STOPPED
    stage: str = "queued"
    since: datetime | None = None
    """When this phase was entered."""
    deadline: datetime | None = None
    """When this phase is over, whatever happens."""
    wake_at: datetime | None = None
    """When to look again if nobody rings."""
    revision: int = 0
    generation: int = 0
    tries: int = 0
    """Starts in a row that led to no served message."""
    asks: int = 0
    """Times a machine was asked to stop or go away without doing so."""
    item_seq: int = 0
    control_seq: int = 0
    report_seq: int = 0
    last_message_seq: int = 0
    answered_seq: int = 0
    stopped_seq: int = 0
    """Messages up to here wait for the user's next word, because the user said stop."""
    turns: int = 0
    machine_since: datetime | None = None
    heard_at: datetime | None = None
    machine_down: bool = True
    """The provider confirmed that no machine of this session runs."""
    machine_deleted: bool = True
    failure: Failure | None = None
    last_need: Need | None = None
    """Why the newest turn that ended did so before the work was done."""
    title: str | None = None
    todo: list[Todo] = []
    pull_requests: list[PullRequest] = []
    usage: UsageTotal = UsageTotal()
    budget_usd: float | None = None

    @property
    def needs_work(self) -> bool:
        """There is a message that no turn has served."""
        return self.last_message_seq > max(self.answered_seq, self.stopped_seq)

    @property
    def needs_user(self) -> Need | None:
        """What the session waits for that only its user can give."""
        if self.phase is Phase.FAILED:
            return Need.FAILURE
        over = self.phase in (Phase.DELETING, Phase.DELETED)
        return None if over or self.last_message_seq > self.answered_seq else self.last_need


class Seen(_Frozen):
    """What an observation found: the log since the state's cursors, the worker's pulse, the machine."""

    generation: int = 0
    revision: int = 0
    answered_seq: int = 0
    turns: int = 0
    """These four as the session document has them: an orchestration begun anew goes on from there."""
    item_seq: int = 0
    last_message_seq: int = 0
    effects: list[Effect] = []
    controls: list[Control] = []
    reports: list[Report] = []
    heard: tuple[int, datetime] | None = None
    """(generation, time) of the worker's last heartbeat."""
    machine: MachineState | None = None
    """None when `looks_at_machine` said that it does not matter."""
    usage: UsageTotal = UsageTotal()
    deadlines: Deadlines = Deadlines()
    """The settings in force, as the observation read them: an orchestrator must not read its environment."""
    gone: bool = False
    """The session document is not there (deleted by a crash-cut purge that ran twice)."""


class Action(_Frozen):
    """One activity to run. Running it twice, or late, changes nothing."""

    name: Literal[
        "start_machine", "deallocate_machine", "delete_machine", "post_notice", "ring_worker", "purge_session"
    ]
    session_id: str
    generation: int = 0
    key: str = ""
    code: str = ""
    level: Literal["info", "warning", "error"] = "info"
    text: str = ""


type Step = tuple[State, list[Action]]


def looks_at_machine(state: State, now: datetime, deadlines: Deadlines) -> bool:
    """Whether the next observation must ask the provider about the machine (a slow call)."""
    match state.phase:
        case Phase.STARTING | Phase.STOPPING | Phase.DELETING:
            return True
        case Phase.WORKING | Phase.WAITING:
            return _silent_for(state, now) >= deadlines.silence / 2
        case _:
            return not state.machine_down


def advance(state: State, seen: Seen, now: datetime) -> Step:
    """One step of the controller."""
    deadlines = seen.deadlines
    if state.phase is Phase.DELETED or seen.gone:
        return state.model_copy(update={"phase": Phase.DELETED, "wake_at": None}), []
    state = _take_in(state, seen, now)
    state, actions = _obey(state, seen.controls, now, deadlines)
    state, more = _RULES[state.phase](state, seen, now, deadlines)
    return _schedule(state, now, deadlines), actions + more


# --- taking in what was seen ------------------------------------------------------------------------------


def _take_in(state: State, seen: Seen, now: datetime) -> State:
    """Fold the log into the state. Cursors only grow; a report of an old generation still says what was answered."""
    if seen.generation > state.generation:
        state = state.model_copy(
            update={
                "generation": seen.generation,
                "machine_since": now,
                "machine_down": False,
                "machine_deleted": False,
            }
        )
    update: dict[str, object] = {
        "revision": max(state.revision, seen.revision),
        "item_seq": max(state.item_seq, seen.item_seq),
        "last_message_seq": max(state.last_message_seq, seen.last_message_seq),
        "usage": seen.usage,
    }
    heard = state.heard_at
    if seen.heard is not None and seen.heard[0] == state.generation:
        heard = max(filter(None, (heard, seen.heard[1])))
    answered, turns, tries = max(state.answered_seq, seen.answered_seq), max(state.turns, seen.turns), state.tries
    last_need = state.last_need
    for report in seen.reports:
        if report.seq <= state.report_seq:
            continue
        if report.generation == state.generation:
            heard = max(filter(None, (heard, report.created_at)))
        if report.kind in (ReportKind.COMPLETED, ReportKind.FAILED, ReportKind.INTERRUPTED):
            tries = 0
            last_need = report.needs_user if report.through_seq >= answered else last_need
        if report.through_seq > answered:  # a `started` may tell it too: of a turn whose worker died before its report
            turns += 1
            answered = report.through_seq
        update["report_seq"] = report.seq
    update |= {"answered_seq": answered, "turns": turns, "tries": tries, "heard_at": heard}
    update["last_need"] = last_need
    if seen.machine is not None:
        update["machine_down"] = seen.machine.power in DOWN
    for effect in seen.effects:
        if effect.title:
            update["title"] = effect.title
        if effect.todo is not None:
            update["todo"] = effect.todo
        if effect.pull_request is not None:
            known = update.get("pull_requests", state.pull_requests)
            update["pull_requests"] = _with(known, effect.pull_request)  # type: ignore[arg-type]
    return state.model_copy(update=update)


def _with(known: list[PullRequest], new: PullRequest) -> list[PullRequest]:
    return [each for each in known if each.url != new.url] + [new]


def _obey(state: State, controls: list[Control], now: datetime, deadlines: Deadlines) -> Step:
    """Controls in order. `interrupt` is the worker's to obey: it only has to be told."""
    actions: list[Action] = []
    for control in controls:
        if control.seq <= state.control_seq:
            continue
        state = state.model_copy(update={"control_seq": control.seq})
        match control.kind:
            case ControlKind.DELETE:
                if state.phase is not Phase.DELETING:
                    state = _enter(state, Phase.DELETING, now, deadlines.stop, stage="deleting machine")
                    actions.append(_act(state, "delete_machine"))
            case _ if state.phase is Phase.DELETING:
                pass  # nothing but the end comes after delete
            case ControlKind.STOP:
                state = state.model_copy(update={"stopped_seq": max(state.stopped_seq, control.at_seq)})
                if state.phase in (Phase.STARTING, Phase.WORKING, Phase.WAITING):
                    actions.append(_notice(state, f"stop-{control.seq}", "stopped_by_user", "Stopped by the user."))
                    state, more = _stop(state, now, deadlines)
                    actions += more
            case ControlKind.RESUME:
                state = state.model_copy(update={"stopped_seq": 0, "tries": 0})
                if state.phase in (Phase.STOPPED, Phase.FAILED):
                    state, more = _start(state, now, deadlines)
                    actions += more
            case ControlKind.INTERRUPT:
                if state.phase in (Phase.STARTING, Phase.WORKING, Phase.WAITING):
                    actions.append(_act(state, "ring_worker"))
            case ControlKind.BUDGET:  # the reservations obey it; here it is only shown
                state = state.model_copy(update={"budget_usd": control.budget_usd})
    return state, actions


# --- one rule for each phase ------------------------------------------------------------------------------


def _starting(state: State, seen: Seen, now: datetime, deadlines: Deadlines) -> Step:
    if _started(state, seen):
        phase = Phase.WORKING if state.needs_work else Phase.WAITING
        return _run(state, phase, now, deadlines), []
    machine = seen.machine
    if machine is not None:
        if machine.generation == state.generation and machine.power is Power.FAILED:
            return _start_again(
                state, now, deadlines, machine.failure or _failure(state, "The machine failed to start.")
            )
        if machine.stage and machine.generation == state.generation:
            state = state.model_copy(update={"stage": machine.stage})
    if _over(state, now):
        minutes = deadlines.start.total_seconds() / 60
        reason = f"The worker did not report within {minutes:g} minutes (last stage: {state.stage})."
        return _start_again(state, now, deadlines, _failure(state, reason, "Look at the machine's log."))
    return state, []


def _working(state: State, seen: Seen, now: datetime, deadlines: Deadlines) -> Step:
    if _too_old(state, now, deadlines):
        return _retire(state, now, deadlines)
    if (failure := _lost(state, seen, now, deadlines)) is not None:
        return _start_again(state, now, deadlines, failure)
    if not state.needs_work:
        return _run(state, Phase.WAITING, now, deadlines), []
    return state, []


def _waiting(state: State, seen: Seen, now: datetime, deadlines: Deadlines) -> Step:
    if _too_old(state, now, deadlines):
        return _retire(state, now, deadlines)
    if state.needs_work:
        # A worker that died while nobody needed it must not cost the user the whole silence deadline.
        if (failure := _lost(state, seen, now, deadlines)) is not None:
            return _start_again(state, now, deadlines, failure)
        return _run(state, Phase.WORKING, now, deadlines), [_act(state, "ring_worker")]
    if _over(state, now):
        return _stop(state, now, deadlines)
    return state, []


def _stopping(state: State, seen: Seen, now: datetime, deadlines: Deadlines) -> Step:
    if seen.machine is not None and state.machine_down:
        if state.needs_work:
            return _start(state, now, deadlines)
        stage = "deallocated"
        return _enter(state, Phase.STOPPED, now, deadlines.retention, stage=stage), []
    if _over(state, now):
        if state.asks >= deadlines.tries:
            reason = f"The machine did not stop although it was asked {state.asks} times."
            return _fail(state, now, deadlines, _failure(state, reason, "Stop it in the Azure Portal."))
        return _ask_again(state, now, deadlines, "deallocate_machine")
    return state, []


def _stopped(state: State, seen: Seen, now: datetime, deadlines: Deadlines) -> Step:
    if state.needs_work:
        return _start(state, now, deadlines)
    if not state.machine_down:
        return _stop(state, now, deadlines)
    if _over(state, now) and not state.machine_deleted:
        state = state.model_copy(update={"machine_deleted": True, "deadline": None, "stage": "machine deleted"})
        return state, [_act(state, "delete_machine")]
    return state, []


def _failed(state: State, seen: Seen, now: datetime, deadlines: Deadlines) -> Step:
    if state.needs_work and state.last_message_seq > state.stopped_seq:
        return _start(state.model_copy(update={"tries": 0}), now, deadlines)
    if not state.machine_down:  # a machine is never left running behind a failure
        late = state.wake_at is not None and now >= state.wake_at
        return state, [_act(state, "deallocate_machine")] if late else []
    return _stopped(state, seen, now, deadlines)


def _deleting(state: State, seen: Seen, now: datetime, deadlines: Deadlines) -> Step:
    gone = seen.machine is not None and seen.machine.power is Power.ABSENT
    if not gone and not (_over(state, now) and state.asks >= deadlines.tries):
        return _ask_again(state, now, deadlines, "delete_machine") if _over(state, now) else (state, [])
    # A machine that will not go is the janitor's from here: it has no session any more.
    state = state.model_copy(update={"phase": Phase.DELETED, "stage": "deleted", "deadline": None})
    return state, [_act(state, "purge_session")]


_RULES = {
    Phase.STARTING: _starting,
    Phase.WORKING: _working,
    Phase.WAITING: _waiting,
    Phase.STOPPING: _stopping,
    Phase.STOPPED: _stopped,
    Phase.FAILED: _failed,
    Phase.DELETING: _deleting,
}


# --- transitions ------------------------------------------------------------------------------------------


def _start(state: State, now: datetime, deadlines: Deadlines) -> Step:
    """A new generation of the machine. Its notice goes into the log first: that fences the old worker's writes."""
    state = state.model_copy(
        update={
            "generation": state.generation + 1,
            "tries": state.tries + 1,
            "machine_since": now,
            "heard_at": None,
            "machine_down": False,
            "machine_deleted": False,
            "failure": None,
        }
    )
    state = _enter(state, Phase.STARTING, now, deadlines.start, stage="requested")
    text = "Starting the machine." if state.generation == 1 else f"Starting the machine (start {state.generation})."
    return state, [
        _notice(state, f"start-{state.generation}", "machine_starting", text),
        _act(state, "start_machine"),
    ]


def _start_again(state: State, now: datetime, deadlines: Deadlines, failure: Failure) -> Step:
    """Another try, or the end of trying."""
    if state.tries >= deadlines.tries:
        return _fail(state, now, deadlines, failure)
    text = f"{failure.reason} Trying again ({state.tries + 1} of {deadlines.tries})."
    notice = _notice(state, f"lost-{state.generation}", "machine_lost", text, "warning")
    state, actions = _start(state, now, deadlines)
    return state, [notice, *actions]


def start_failed(state: State, failure: Failure, seen: Seen, now: datetime) -> Step:
    """The provider refused to start the machine for good: there is no use in trying again by ourselves."""
    state, actions = _fail(state, now, seen.deadlines, failure)
    return _schedule(state, now, seen.deadlines), actions


def _fail(state: State, now: datetime, deadlines: Deadlines, failure: Failure) -> Step:
    """Say so in the chat and wait for the next message. What was asked is kept: it is served on the next try."""
    state = _enter(state, Phase.FAILED, now, deadlines.retention, stage=failure.stage)
    state = state.model_copy(update={"failure": failure, "stopped_seq": state.last_message_seq})
    text = f"{failure.reason} {failure.advice}".strip() + " Send a message to try again."
    notice = _notice(state, f"failed-{state.generation}-{state.asks}", "session_failed", text, "error")
    return state, [notice, _act(state, "deallocate_machine")]


def _run(state: State, phase: Phase, now: datetime, deadlines: Deadlines) -> State:
    limit = deadlines.idle if phase is Phase.WAITING else None
    state = _enter(state, phase, now, limit, stage="worker ready")
    return state.model_copy(update={"heard_at": state.heard_at or now})


def _stop(state: State, now: datetime, deadlines: Deadlines) -> Step:
    state = _enter(state, Phase.STOPPING, now, deadlines.stop, stage="deallocating")
    return state, [_act(state, "deallocate_machine")]


def _retire(state: State, now: datetime, deadlines: Deadlines) -> Step:
    """The hard cap on a machine's age. Unserved work goes on with the next start."""
    hours = deadlines.machine_age.total_seconds() / 3600
    notice = _notice(
        state, f"age-{state.generation}", "machine_retired", f"The machine ran for {hours:g} hours and is replaced."
    )
    state, actions = _stop(state.model_copy(update={"tries": 0}), now, deadlines)
    return state, [notice, *actions]


def _ask_again(
    state: State, now: datetime, deadlines: Deadlines, name: Literal["deallocate_machine", "delete_machine"]
) -> Step:
    state = state.model_copy(update={"asks": state.asks + 1, "deadline": now + deadlines.stop})
    return state, [_act(state, name)]


def _enter(state: State, phase: Phase, now: datetime, limit: timedelta | None, *, stage: str) -> State:
    deadline = None if limit is None else now + limit
    asks = 1 if phase in (Phase.STOPPING, Phase.DELETING) else 0
    return state.model_copy(update={"phase": phase, "stage": stage, "since": now, "deadline": deadline, "asks": asks})


def _schedule(state: State, now: datetime, deadlines: Deadlines) -> State:
    """When to look again. The doorbell usually comes first; this is what makes a lost bell harmless."""
    times = [state.deadline] if state.deadline is not None else []
    match state.phase:
        case Phase.STARTING | Phase.STOPPING | Phase.DELETING:
            times.append(now + deadlines.poll)
        case Phase.WORKING | Phase.WAITING:
            if state.phase is Phase.WORKING:
                pulse = deadlines.silence / 2
                times.append(max((state.heard_at or now) + pulse, now + min(pulse, deadlines.poll)))
            if state.machine_since is not None:
                times.append(state.machine_since + deadlines.machine_age)
        case Phase.STOPPED | Phase.FAILED if not state.machine_down:
            times.append(now + deadlines.stop)
        case _:
            pass
    return state.model_copy(update={"wake_at": min(times) if times else None, "revision": state.revision + 1})


# --- questions --------------------------------------------------------------------------------------------


def _started(state: State, seen: Seen) -> bool:
    """Any report of this generation's worker proves that it is up, whichever report was lost."""
    return any(report.generation == state.generation for report in seen.reports) or (
        seen.heard is not None and seen.heard[0] == state.generation
    )


def _lost(state: State, seen: Seen, now: datetime, deadlines: Deadlines) -> Failure | None:
    """Why the worker must be started again, if it must."""
    machine = seen.machine
    if machine is not None and machine.power in (Power.ABSENT, Power.DEALLOCATED, Power.FAILED):
        return machine.failure or _failure(state, "The machine went away in the middle of its work.")
    if _silent_for(state, now) >= deadlines.silence:
        seconds = deadlines.silence.total_seconds()
        return _failure(state, f"The worker was not heard of for {seconds:g} seconds.")
    return None


def _silent_for(state: State, now: datetime) -> timedelta:
    return now - (state.heard_at or state.since or now)


def _over(state: State, now: datetime) -> bool:
    return state.deadline is not None and now >= state.deadline


def _too_old(state: State, now: datetime, deadlines: Deadlines) -> bool:
    return state.machine_since is not None and now >= state.machine_since + deadlines.machine_age


def _failure(state: State, reason: str, advice: str = "") -> Failure:
    return Failure(stage=state.stage, reason=reason, advice=advice)


def _act(
    state: State, name: Literal["start_machine", "deallocate_machine", "delete_machine", "ring_worker", "purge_session"]
) -> Action:
    return Action(name=name, session_id=state.session_id, generation=state.generation)


def _notice(
    state: State, key: str, code: str, text: str, level: Literal["info", "warning", "error"] = "info"
) -> Action:
    return Action(
        name="post_notice",
        session_id=state.session_id,
        generation=state.generation,
        key=key,
        code=code,
        level=level,
        text=text,
    )
