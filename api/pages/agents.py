"""The editor of an agent. The list of them is a part of the settings."""

from __future__ import annotations

import json

from fastapi import APIRouter, Response

from api.pages.frame import Frame, FrameDep
from api.pages.route import PageRoute
from nightshift.agents import ALWAYS, TOOLS, Agent, read_agent

router = APIRouter(prefix="/settings/agents", include_in_schema=False, route_class=PageRoute)


@router.get("/new")
async def show_new_agent(frame: FrameDep) -> Response:
    return await _editor(frame, None)


@router.get("/{agent_id}")
async def show_agent(agent_id: str, frame: FrameDep) -> Response:
    return await _editor(frame, (await read_agent(frame.services.store, frame.principal.subject, agent_id)).agent)


async def _editor(frame: Frame, agent: Agent | None) -> Response:
    mcp = agent and agent.mcp and agent.mcp.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return await frame.page(
        "agent.html",
        agent=agent,
        mcp=json.dumps(mcp, indent=2, ensure_ascii=False) if mcp else "",
        locked=agent is not None and agent.team and not frame.principal.is_admin,
        tools=TOOLS,
        always=ALWAYS,
        models=sorted(frame.services.prices.models),
        model=frame.services.settings.model,
    )
