"""One session's whole life: observe, decide, act, sleep.

The rules are in `nightshift.lifecycle`; this generator only carries them out, durably. External events are
doorbells: they say "look", never what happened, so a lost, doubled or early one is harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from durabletask.task import OrchestrationContext, RetryPolicy, TaskFailedError, when_any

from nightshift.lifecycle import Action, Seen, State, advance, start_failed
from nightshift.models import Failure, Phase

NAME = "session"
VERSION = "1"
"""What new sessions begin on, as host.json's `defaultVersion` says; older ones come to it with continue-as-new."""
DOORBELLS = ("user_message", "worker_report", "control")
WAKES_PER_RUN = 20
"""Wakes before continue-as-new, which keeps the history below 500 events however long the session."""

_PATIENT = RetryPolicy(
    first_retry_interval=timedelta(seconds=1),
    max_number_of_attempts=8,
    backoff_coefficient=2,
    max_retry_interval=timedelta(minutes=1),
)
_AFTER_FAULT = timedelta(minutes=1)
"""Pause before a step whose activity failed after all its retries is taken again."""

_BOOKKEEPING = {"revision", "wake_at", "heard_at", "deadline", "control_seq", "report_seq", "item_seq"}

_log = logging.getLogger(__name__)

type Work = Generator[Any, Any, Any]


def session(ctx: OrchestrationContext, carried: dict[str, Any]) -> Work:
    """`carried` is {"session_id": ...} at the start, and the whole state after a continue-as-new."""
    log = ctx.create_replay_safe_logger(_log)
    state = State.model_validate(carried)
    doorbells = {name: ctx.wait_for_external_event(name) for name in DOORBELLS}

    for _ in range(WAKES_PER_RUN):
        try:
            state = yield from _step(ctx, state)
        except TaskFailedError as error:
            # Nothing of this step is kept but its number; all of it can be done again.
            log.error("session %s: %s; taking the step again in a minute", state.session_id, error)
            pause = _now(ctx) + _AFTER_FAULT
            state = state.model_copy(update={"revision": state.revision + 2, "wake_at": pause})
            ctx.set_custom_status(_status(state) | {"fault": str(error)[:200]})
        if state.phase is Phase.DELETED:
            return
        yield from _sleep(ctx, doorbells, state.wake_at)

    ctx.continue_as_new(state.model_dump(mode="json"), save_events=True, new_version=VERSION)


def _step(ctx: OrchestrationContext, before: State) -> Generator[Any, Any, State]:
    """Observe once and carry out what follows from it. Raises TaskFailedError if an activity stays broken."""
    seen = Seen.model_validate((yield _call(ctx, "observe", {"state": before.model_dump(mode="json")})))
    state, actions = advance(before, seen, _now(ctx))
    failure = yield from _carry_out(ctx, before, state, actions)
    if failure is not None:
        before = state
        state, actions = start_failed(before, failure, seen, _now(ctx))
        yield from _carry_out(ctx, before, state, actions)
    return state


def _carry_out(
    ctx: OrchestrationContext, before: State, state: State, actions: list[Action]
) -> Generator[Any, Any, Failure | None]:
    """Write the projection, then act: the generation must be on record before its machine can speak."""
    ctx.set_custom_status(_status(state))
    if state.phase is not Phase.DELETED and _shown(state) != _shown(before):
        yield _call(ctx, "project", {"state": state.model_dump(mode="json")})
    for action in actions:
        refusal = yield _call(ctx, action.name, action.model_dump(mode="json"))
        if refusal is not None:
            return Failure.model_validate(refusal)
    return None


def _sleep(ctx: OrchestrationContext, doorbells: dict[str, Any], wake_at: datetime | None) -> Work:
    """Until somebody rings or the time comes. Waiters are kept: one left behind would swallow the next event."""
    timer = None if wake_at is None else ctx.create_timer(max(wake_at, _now(ctx)).replace(tzinfo=None))
    yield when_any([*doorbells.values(), *([timer] if timer is not None else [])])
    for name, waiter in list(doorbells.items()):
        while waiter.is_complete:  # rung several times is still one look
            waiter = doorbells[name] = ctx.wait_for_external_event(name)
    if timer is not None and not timer.is_complete:
        timer.cancel()


def _call(ctx: OrchestrationContext, activity: str, input: dict[str, Any]) -> Any:
    return cast(Any, ctx.call_activity(activity, input=input, retry_policy=_PATIENT))


def _now(ctx: OrchestrationContext) -> datetime:
    return ctx.current_utc_datetime.replace(tzinfo=UTC)


def _shown(state: State) -> dict[str, Any]:
    """What of the state the session document shows: bookkeeping alone is no reason to write it."""
    return state.model_dump(exclude=_BOOKKEEPING)


def _status(state: State) -> dict[str, Any]:
    """What the Portal's monitor and the status URL show."""
    return {
        "phase": state.phase.value,
        "stage": state.stage,
        "generation": state.generation,
        "turns": state.turns,
        "title": state.title,
        "tokens": state.usage.tokens.input + state.usage.tokens.output,
        "cost_usd": state.usage.cost_usd,
        "failure": None if state.failure is None else state.failure.reason,
    }
