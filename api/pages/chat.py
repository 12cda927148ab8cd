"""A session's page: its conversation and its panel, and the fragments that keep both fresh."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from api.auth import own_session
from api.dependencies import After, DoorbellDep
from api.pages import history, items, timeline
from api.pages.forge import forge
from api.pages.frame import Frame, FrameDep
from api.pages.route import HEADERS, PageRoute
from api.views import SessionView, view
from nightshift.blobs import missing
from nightshift.errors import NotFound
from nightshift.models import Phase

router = APIRouter(prefix="/sessions/{session_id}", include_in_schema=False, route_class=PageRoute)
ACTIONS = {
    "interrupt": {Phase.WORKING},
    "stop": {Phase.STARTING, Phase.WORKING, Phase.WAITING},
    "resume": {Phase.STOPPED, Phase.FAILED},
    "delete": set(Phase) - {Phase.DELETING, Phase.DELETED},
}
"""In which phases a button is offered. The API decides; this only keeps useless buttons away."""


type Before = Annotated[int | None, Query(ge=1, lt=10**12, description="Only what has a smaller seq.")]


@router.get("")
async def show_session(session_id: str, frame: FrameDep) -> Response:
    session = await _session(frame, session_id)
    newest, places = await asyncio.gather(items.before(frame.services.log, session_id, items.NEWEST), frame.places())
    return await frame.page(
        "session.html",
        session=session,
        newest=newest,
        awaited=[] if newest.rows else await _awaited(frame, session_id),
        seen=places.get(session_id, 0),
        actions=ACTIONS,
        models=sorted(frame.services.prices.models),
        pulls=await forge(frame.services).pulls(session.pull_requests),
    )


@router.get("/fragment")
async def show_fragment(session_id: str, frame: FrameDep, after: After = 0, before: Before = None) -> Response:
    """What is new since `after`, or what came before `before`; and the panel as it is now."""
    session, log = await _session(frame, session_id), frame.services.log
    part = await (items.after(log, session_id, after) if before is None else items.before(log, session_id, before))
    pulls = await forge(frame.services).pulls(session.pull_requests)
    answer: dict[str, Any] = {
        "html": frame.part("_items.html", rows=part.rows, session=session, seen=None),
        "first_seq": part.first_seq,
        "last_seq": part.last_seq,
        "more": part.more,
        "head_html": frame.part("_head.html", session=session),
        "panel_html": frame.part("_panel.html", session=session, pulls=pulls),
        "title": f"● {session.title}" if session.needs_user else session.title,
        "phase": session.phase,
    }
    return JSONResponse(answer, headers=HEADERS)


@router.get("/items/{seq}")
async def show_item(session_id: str, seq: int, frame: FrameDep) -> Response:
    """What is inside a folded row, fetched when it is opened."""
    await _session(frame, session_id)
    row = await items.one(frame.services.log, session_id, seq)
    if row is None:
        raise NotFound(f"There is no item {seq}", "no-item", seq=seq)
    return frame.fragment("_inside.html", row=row)


@router.get("/timeline")
async def show_timeline(session_id: str, frame: FrameDep) -> Response:
    session = await _session(frame, session_id)
    return frame.fragment("_timeline.html", events=await timeline.events(frame.services.log, session))


@router.get("/history")
async def show_history(session_id: str, frame: FrameDep, doorbell: DoorbellDep) -> Response:
    await _session(frame, session_id)
    return frame.fragment("_history.html", steps=await history.history(doorbell, session_id))


async def _awaited(frame: Frame, session_id: str) -> list[str]:
    """What a session that has said nothing yet waits for: files that were announced with it, as people call them."""
    files = (await frame.services.log.session(session_id)).request.files
    names = await missing(frame.services.blobs, session_id, files)
    return [file.filename for file in files if file.name in names]


async def _session(frame: Frame, session_id: str) -> SessionView:
    session = await own_session(frame.services, frame.principal, session_id)
    settings = frame.services.settings
    return view(session, settings.model, default_budget=settings.budget_usd)
