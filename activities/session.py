"""The activities of a session: observe, project, notices, usage, machine, end.

Each takes and returns JSON. Retryable errors are raised, so that the retry policy sees them; permanent ones
come back as a typed result, because no retry will help and a person must read the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from activities.tell import tell
from nightshift import telemetry
from nightshift.errors import NotFound, Permanent, StaleGeneration
from nightshift.lifecycle import Action, Seen, State, looks_at_machine
from nightshift.log import Log
from nightshift.models import Control, Effect, Failure, Item, ItemKind, MachineSpec, NewItem, Report
from nightshift.pricing import total
from nightshift.services import Services
from nightshift.tokens import WorkerIdentity, issue

_log = logging.getLogger(__name__)
_PAGE = 200
_ALL = 10_000


def _traced[About: (State, Action), Result](
    activity: Callable[[Services, About], Awaitable[Result]],
) -> Callable[[Services, About], Awaitable[Result]]:
    @wraps(activity)
    async def run(services: Services, about: About) -> Result:
        with telemetry.span(about.session_id, activity.__name__):
            return await activity(services, about)

    return run


@_traced
async def observe(services: Services, state: State) -> dict[str, Any]:
    """What the log says since the state's cursors and, when it matters, what the machine says."""
    log, session_id, deadlines = services.log, state.session_id, services.settings.deadlines
    try:
        session = await log.session(session_id)
    except NotFound:
        return Seen(gone=True, deadlines=deadlines).model_dump(mode="json")
    last_message, item_seq, effects = await _new_items(log, state)
    controls: list[Control] = await log.controls(session_id, state.control_seq, _ALL)
    reports: list[Report] = await log.reports(session_id, state.report_seq, _ALL)
    looks = looks_at_machine(state, datetime.now(UTC), deadlines)
    seen = Seen(
        generation=session.generation,
        revision=session.revision,
        answered_seq=session.answered_seq,
        turns=session.turns,
        item_seq=item_seq,
        last_message_seq=last_message,
        effects=effects,
        controls=controls,
        reports=reports,
        heard=await log.last_beat(session_id),
        machine=await services.machines.state(session_id) if looks else None,
        usage=total(await log.usage(session_id), services.prices),
        deadlines=deadlines,
    )
    return seen.model_dump(mode="json")


async def _new_items(log: Log, state: State) -> tuple[int, int, list[Effect]]:
    """(newest user message, newest item, effects in order); of the effects only the last of each sort is kept."""
    last_message, seq = state.last_message_seq, state.item_seq
    effects: dict[str, Effect] = {}
    while page := await log.items(state.session_id, seq, _PAGE):
        for item in page:
            if item.kind is ItemKind.USER_MESSAGE:
                last_message = item.seq
            if item.effect is not None:
                effects |= _by_sort(item)
        seq = page[-1].seq
    return last_message, seq, list(effects.values())


def _by_sort(item: Item) -> dict[str, Effect]:
    effect = item.effect or Effect()
    sorts: dict[str, Effect] = {}
    if effect.title is not None:
        sorts["title"] = Effect(title=effect.title)
    if effect.todo is not None:
        sorts["todo"] = Effect(todo=effect.todo)
    if effect.pull_request is not None:
        sorts[effect.pull_request.url] = Effect(pull_request=effect.pull_request)
    return sorts


@_traced
async def project(services: Services, state: State) -> None:
    """Write what the state shows into the session document; tell the listeners, and the owner if it is time."""
    log, session_id = services.log, state.session_id
    clock = {"phase", "stage", "since", "deadline", "machine_since", "generation"}
    counters = {"turns", "item_seq", "last_message_seq", "answered_seq"}
    told = {"title", "todo", "pull_requests", "usage", "budget_usd", "failure"}
    changes = state.model_dump(include=clock | counters | told) | {"needs_user": state.needs_user}
    try:
        session = await log.project(session_id, state.revision, changes)
    except NotFound:
        _log.info("session %s is gone; nothing to project", session_id)
        return
    await services.live.hint(session_id, state.item_seq)
    await tell(services, session)


@_traced
async def post_notice(services: Services, action: Action) -> None:
    """Append a notice to the conversation. Its key makes a repeat a no-op."""
    announces = action.code == "machine_starting"
    notice = NewItem(
        id=f"notice-{action.key}",
        kind=ItemKind.NOTICE,
        generation=action.generation if announces else None,
        text=action.text,
        code=action.code,
        level=action.level,
    )
    try:
        item = await services.log.append_item(action.session_id, notice)
    except StaleGeneration:
        _log.info("session %s: a later start was announced already", action.session_id)
        return
    if action.level == "error":
        telemetry.errors.add(1, {"code": action.code})
    if action.code == "machine_lost":
        telemetry.workers_silent.add(1)
    await services.live.hint(action.session_id, item.seq)


@_traced
async def start_machine(services: Services, action: Action) -> dict[str, Any] | None:
    """Begin the start of this generation. Returns a Failure if it can never succeed."""
    settings = services.settings
    lifetime = settings.deadlines.machine_age + timedelta(hours=1)
    identity = WorkerIdentity(action.session_id, action.generation)
    spec = MachineSpec(
        session_id=action.session_id,
        generation=action.generation,
        api_url=settings.public_url,
        token=issue(settings.signing_key, identity, lifetime),
    )
    try:
        await services.machines.begin_start(spec)
    except Permanent as error:
        failure = Failure(stage="machine start", reason=str(error), advice=error.advice)
        return failure.model_dump(mode="json")
    return None


@_traced
async def deallocate_machine(services: Services, action: Action) -> None:
    await services.machines.begin_deallocate(action.session_id)


@_traced
async def delete_machine(services: Services, action: Action) -> None:
    await services.machines.begin_delete(action.session_id)


@_traced
async def ring_worker(services: Services, action: Action) -> None:
    """The worker's long poll finds it anyway; this makes it sooner where a live channel exists."""
    await services.live.hint(action.session_id, 0)


@_traced
async def purge_session(services: Services, action: Action) -> None:
    await services.log.purge(action.session_id)
