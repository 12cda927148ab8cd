"""All sessions: search, filters, pages. What narrows the list is done in the store's index."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from api.pages.frame import FrameDep
from api.pages.route import PageRoute
from api.pages.templates import ORDERS, keep
from api.sessions import Narrow, list_sessions
from nightshift.errors import UserError
from nightshift.models import Phase
from nightshift.ports import Order

router = APIRouter(include_in_schema=False, route_class=PageRoute)
SESSIONS = 30
"""Rows of one page."""
PHASES = (Phase.WORKING, Phase.WAITING, Phase.STARTING, Phase.STOPPED, Phase.FAILED)


@router.get("/sessions")
async def show_sessions(
    frame: FrameDep,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    q: Narrow = None,
    phase: Narrow = None,
    repository: Narrow = None,
    model: Narrow = None,
    agent: Narrow = None,
    owner: Narrow = None,
    order: Order | None = None,
    fragment: bool = False,
) -> Response:
    """A form sends its empty fields, too: they narrow nothing."""
    if phase and phase not in list(Phase):
        raise UserError(f"There is no phase '{phase}'", "no-phase", phase=phase)
    asked = {"q": q, "phase": phase, "repository": repository, "model": model, "agent": agent, "owner": owner}
    filters = {name: value for name, value in asked.items() if value}
    listed, places = await asyncio.gather(
        list_sessions(
            frame.principal,
            frame.services,
            SESSIONS,
            cursor,
            phase=Phase(phase) if phase else None,
            repository=repository,
            model=model,
            agent=agent,
            owner=owner,
            q=q,
            order=order or frame.look.order,
        ),
        frame.places(),
    )
    rows = frame.rows(listed.sessions, places)
    if fragment:
        return frame.fragment("_sessions.html", rows=rows, selectable=True)
    asked_again = filters | ({"order": order} if order else {})
    page = await frame.page(
        "sessions.html",
        rows=rows,
        cursor=cursor,
        first="/sessions?" + urlencode(asked_again),
        next="/sessions?" + urlencode(asked_again | {"cursor": listed.next_cursor}) if listed.next_cursor else None,
        filters=asked,
        narrowed=bool(filters),
        phases=PHASES,
        orders=ORDERS,
        order=order or frame.look.order,
        repositories=sorted({row.session.repository for row in rows if row.session.repository}),
        models=sorted({row.session.model for row in rows}),
        agents=sorted({row.session.agent.name for row in rows if row.session.agent}),
    )
    if order and order != frame.look.order:
        keep(page, "order", order, frame.request)
    return page
