"""All sessions: search, filters, pages."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.pages.frame import FrameDep
from api.pages.route import PageRoute
from api.sessions import list_sessions

router = APIRouter(include_in_schema=False, route_class=PageRoute)
SESSIONS = 30
"""Rows of one page."""


@router.get("/sessions")
async def show_sessions(
    frame: FrameDep, cursor: Annotated[str | None, Query(max_length=1000)] = None, fragment: bool = False
) -> Response:
    listed, places = await asyncio.gather(
        list_sessions(frame.principal, frame.services, SESSIONS, cursor), frame.places()
    )
    rows = frame.rows(listed.sessions, places)
    if fragment:
        return frame.fragment("_sessions.html", rows=rows)
    return await frame.page("sessions.html", rows=rows, cursor=cursor, older=listed.next_cursor)
