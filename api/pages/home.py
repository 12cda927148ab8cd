"""The first page: a new session. And the rail, which every page fetches again and again."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.pages.forge import forge
from api.pages.frame import FrameDep
from api.pages.route import PageRoute
from nightshift.agents import list_agents
from nightshift.people import preferences

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/")
async def show_home(frame: FrameDep) -> Response:
    services = frame.services
    kept, agents, rail, repositories = await asyncio.gather(
        preferences(services.store, frame.principal.subject),
        list_agents(services.store, frame.principal.subject),
        frame.rail(),
        forge(services).repositories(),
    )
    return await frame.page(
        "home.html",
        preferences=kept,
        agents=agents,
        models=sorted(services.prices.models),
        model=services.settings.model,
        recent=rail[:6],
        repositories=repositories,
    )


@router.get("/rail")
async def show_rail(frame: FrameDep, current: Annotated[str, Query(max_length=100)] = "") -> Response:
    return frame.fragment("_rail.html", rail=await frame.rail(), current=current)
