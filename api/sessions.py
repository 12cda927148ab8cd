"""Sessions, for people and programs: begin, look, talk, steer.

What is asked is stored first and answered with 202; the bell that wakes the orchestration comes after, and a
lost one is made up for. Every POST may be repeated with an Idempotency-Key.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query, Request, Response

from api import budget
from api.agents import refuse_names_of_the_deployment
from api.audit import note
from api.auth import KEY_SCHEMES, Principal, Reader, Writer, own_session
from api.begin import ensure_begun, must_be_begun, refuse_if_ending
from api.dependencies import After, DoorbellDep, IdempotencyKey, ServicesDep, Wait, digest, entry_id, poll
from api.rates import SESSIONS, rates_of
from api.views import (
    Accepted,
    LiveUrl,
    NewBudget,
    NewMessage,
    NewSession,
    SessionsPage,
    SessionView,
    Stored,
    durable_urls,
    links,
    view,
)
from nightshift.agents import agent_of, keep_snapshot
from nightshift.blobs import demand
from nightshift.errors import Conflict
from nightshift.log import utc_now
from nightshift.models import (
    AgentRef,
    ControlKind,
    ItemKind,
    ItemsPage,
    NewControl,
    NewItem,
    Phase,
    Session,
    SessionRequest,
    Stream,
)
from nightshift.ports import Find, Order
from nightshift.services import Services

type Narrow = Annotated[str | None, Query(max_length=200)]
router = APIRouter(prefix="/api/sessions", tags=["sessions"], dependencies=KEY_SCHEMES)


@router.post("", status_code=202, summary="Begin a session")
async def create_session(
    new: NewSession,
    request: Request,
    principal: Writer,
    services: ServicesDep,
    doorbell: DoorbellDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    rates_of(request).take(SESSIONS, principal.counted_as)
    now, id = utc_now(), _session_id(principal, idempotency_key)
    asked, agent = await _agreed(services, principal, id, new)
    await note(services, principal, "session.begin", id, id, new.repository or "")
    session = await services.log.create_session(
        Session(
            id=id,
            owner=principal.subject,
            owner_name=principal.name,
            request=asked,
            agent=agent,
            created_at=now,
            updated_at=now,
        )
    )
    awaited = await ensure_begun(services, doorbell, session)
    where = links(session.id)
    response.headers["Location"] = where.self
    urls = durable_urls(principal, doorbell, session.id)
    return Accepted(id=session.id, phase=session.phase, links=where, durable=urls, awaited_files=awaited)


@router.get("", summary="List sessions, newest first if no other order is asked for")
async def list_sessions(
    principal: Reader,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    phase: Annotated[Phase | None, Query(description="Only those in this phase.")] = None,
    repository: Narrow = None,
    model: Narrow = None,
    agent: Annotated[str | None, Query(max_length=200, description="The name that its agent had.")] = None,
    owner: Narrow = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of title, request, repository or id.")] = None,
    order: Annotated[Order, Query(description="By title from A to Z, else the greatest first.")] = "created",
) -> SessionsPage:
    """`owner` is for admins; everybody else sees their own in any case."""
    asked = {"phase": phase, "repository": repository, "model": model, "agent": agent, "text": (q or "").strip()}
    find = cast(Find, {name: str(wanted) for name, wanted in asked.items() if wanted})
    whose = owner or None if principal.is_admin else principal.subject
    page, next_cursor = await services.log.sessions(limit, cursor, owner=whose, find=find, order=order)
    settings = services.settings
    return SessionsPage(
        sessions=[view(session, settings.model, default_budget=settings.budget_usd) for session in page],
        next_cursor=next_cursor,
    )


@router.get("/{session_id}", summary="Look at a session")
async def get_session(session_id: str, principal: Reader, services: ServicesDep, doorbell: DoorbellDep) -> SessionView:
    session = await own_session(services, principal, session_id)
    settings, urls = services.settings, durable_urls(principal, doorbell, session_id)
    return view(session, settings.model, urls, settings.budget_usd)


@router.get(
    "/{session_id}/items",
    summary="Read the conversation; wait for what is new",
    # `raw` is the model API's own form of what the other fields say, kept for the worker.
    response_model_exclude={"items": {"__all__": {"raw"}}, "controls": True},
)
async def list_items(
    session_id: str,
    principal: Reader,
    services: ServicesDep,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 200,
    wait: Wait = 0,
) -> ItemsPage:
    await own_session(services, principal, session_id)
    log = services.log
    items = await poll(lambda: log.items(session_id, after, limit), bool, wait)
    return ItemsPage(items=items, last_seq=await log.last_seq(session_id, Stream.ITEM))


@router.post("/{session_id}/messages", status_code=202, summary="Say something")
async def send_message(
    session_id: str,
    new: NewMessage,
    principal: Writer,
    services: ServicesDep,
    doorbell: DoorbellDep,
    idempotency_key: IdempotencyKey = None,
) -> Stored:
    session = await own_session(services, principal, session_id)
    refuse_if_ending(session)
    if new.model:
        budget.must_be_priced(services, new.model, session.budget_usd or session.request.budget_usd)
    await must_be_begun(services, doorbell, session)
    await demand(services.blobs, session_id, new.files)
    message = NewItem(
        id=entry_id(principal.subject, idempotency_key),
        kind=ItemKind.USER_MESSAGE,
        author=principal.name,
        **new.model_dump(),
    )
    if new.approves:
        await note(services, principal, "action.approve", session_id, message.id, new.approves)
    item = await services.log.append_item(session_id, message)
    if any(getattr(item, name) != getattr(new, name) for name in NewMessage.model_fields):
        raise Conflict(
            "This Idempotency-Key was used for a different message; use a new key for a new message", "key-used-before"
        )
    await doorbell.ring(session_id, "user_message")
    await services.live.hint(session_id, item.seq)
    return Stored(id=item.id, seq=item.seq)


async def _steering(
    session_id: str,
    principal: Writer,
    services: ServicesDep,
    doorbell: DoorbellDep,
    idempotency_key: IdempotencyKey = None,
) -> Callable[[ControlKind], Awaitable[Stored]]:
    """What the controls have in common: all but the word."""

    async def steer(kind: ControlKind, budget_usd: float | None = None) -> Stored:
        session = await own_session(services, principal, session_id)
        if kind is ControlKind.DELETE:
            await ensure_begun(services, doorbell, session)  # or the bell below starts what has only to end
        else:
            refuse_if_ending(session)
            await must_be_begun(services, doorbell, session)
        wanted = NewControl(
            id=entry_id(principal.subject, idempotency_key),
            kind=kind,
            at_seq=await services.log.last_seq(session_id, Stream.ITEM),
            author=principal.subject,
            budget_usd=budget_usd,
        )
        await note(services, principal, f"session.{kind}", session_id, wanted.id)
        control = await services.log.append_control(session_id, wanted)
        if (control.kind, control.budget_usd) != (kind, budget_usd):
            raise Conflict(
                f"This Idempotency-Key was used for another '{control.kind}'; use a new key for this '{kind}'",
                "key-used-before",
            )
        await doorbell.ring(session_id, "control")
        return Stored(id=control.id, seq=control.seq)

    return steer


type Steer = Annotated[Callable[..., Awaitable[Stored]], Depends(_steering)]


@router.post("/{session_id}/interrupt", status_code=202, summary="Interrupt the turn; the machine stays")
async def interrupt_session(steer: Steer) -> Stored:
    return await steer(ControlKind.INTERRUPT)


@router.post("/{session_id}/stop", status_code=202, summary="Stop the work and the machine; a message resumes it")
async def stop_session(steer: Steer) -> Stored:
    return await steer(ControlKind.STOP)


@router.post("/{session_id}/resume", status_code=202, summary="Go on where it was stopped")
async def resume_session(steer: Steer) -> Stored:
    return await steer(ControlKind.RESUME)


@router.post("/{session_id}/budget", status_code=202, summary="Set the budget; what stopped for want of it goes on")
async def set_budget(
    session_id: str, new: NewBudget, steer: Steer, services: ServicesDep, doorbell: DoorbellDep
) -> Stored:
    stored = await steer(ControlKind.BUDGET, new.budget_usd)
    if message := await budget.go_on(services, session_id):
        await doorbell.ring(session_id, "user_message")
        await services.live.hint(session_id, message.seq)
    return stored


@router.delete("/{session_id}", status_code=202, summary="Delete machine, disk and conversation")
async def delete_session(steer: Steer) -> Stored:
    return await steer(ControlKind.DELETE)


@router.get("/{session_id}/live", summary="Where to listen for what is new")
async def get_live_url(session_id: str, principal: Reader, services: ServicesDep) -> LiveUrl:
    await own_session(services, principal, session_id)
    return LiveUrl(url=await services.live.page_url(session_id))


async def _agreed(
    services: Services, principal: Principal, session_id: str, new: NewSession
) -> tuple[SessionRequest, AgentRef | None]:
    """What the session is asked for, with the defaults of its agent, which is kept for it as it is."""
    found = await agent_of(services.store, principal.subject, session_id, new.agent) if new.agent else None
    request = new.request(found and found.agent)
    budget.must_be_priced(services, request.model, request.budget_usd)
    if found is None:
        return request, None
    refuse_names_of_the_deployment(services, found.agent.mcp, found.agent.name)
    agent = (await keep_snapshot(services.store, session_id, found)).agent
    return new.request(agent), AgentRef(id=agent.id, name=agent.name)


def _session_id(principal: Principal, idempotency_key: str | None) -> str:
    """The same key of the same owner is the same session."""
    return "s-" + (
        secrets.token_hex(10) if idempotency_key is None else digest(principal.subject, idempotency_key)[:20]
    )
