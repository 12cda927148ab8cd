"""What is so about the whole deployment, for admins: machines, orphans, queue, audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth import Admin
from api.health import ReadinessDep
from api.pages.frame import Frame, FrameDep
from api.pages.route import PageRoute
from api.sessions import list_sessions
from api.views import SessionView, view
from nightshift import audit
from nightshift.errors import NightshiftError, NotFound
from nightshift.models import MachineInfo, Phase

router = APIRouter(include_in_schema=False, route_class=PageRoute)
QUEUE = 50
AUDIT = 50


@dataclass(frozen=True)
class Machine:
    info: MachineInfo
    session: SessionView | None
    """None: an orphan. The janitor will take it away."""


@dataclass(frozen=True)
class Found[T]:
    """What was found, or why it was not."""

    things: list[T]
    problem: str = ""


@router.get("/admin")
async def show_admin(
    admin: Admin, frame: FrameDep, cursor: Annotated[str | None, Query(max_length=1000)] = None
) -> Response:
    entries, next_cursor = await audit.entries(frame.services.store, AUDIT, cursor)
    return await frame.page("admin.html", entries=entries, cursor=cursor, older=next_cursor)


@router.get("/admin/now")
async def show_now(admin: Admin, frame: FrameDep, readiness: ReadinessDep) -> Response:
    """Machines are asked for by a slow call to their provider, so they come after the page."""
    machines, *queues = await asyncio.gather(
        _or_why(_machines(frame)),
        *(_or_why(_in_phase(frame, phase)) for phase in (Phase.STARTING, Phase.WORKING, Phase.FAILED)),
    )
    return frame.fragment("_admin.html", dependencies=readiness.dependencies, machines=machines, queues=queues)


async def _machines(frame: Frame) -> list[Machine]:
    found = await frame.services.machines.list_all()
    return list(await asyncio.gather(*(_with_session(frame, info) for info in found)))


async def _with_session(frame: Frame, info: MachineInfo) -> Machine:
    services = frame.services
    try:
        session = await services.log.session(info.session_id)
    except NotFound:
        return Machine(info, None)
    return Machine(info, view(session, services.settings.model))


async def _in_phase(frame: Frame, phase: Phase) -> list[SessionView]:
    return (await list_sessions(frame.principal, frame.services, QUEUE, phase=phase)).sessions


async def _or_why[T](looking: Awaitable[list[T]]) -> Found[T]:
    """One part that is away must not take the page with it: it is looked at when something is."""
    try:
        return Found(await looking)
    except NightshiftError as error:
        return Found([], str(error))
