"""Custom agents: everybody's own, and the team's, which admins edit."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from api.audit import note
from api.auth import KEY_SCHEMES, Reader, Writer
from api.dependencies import IdempotencyKey, ServicesDep, digest
from nightshift import agents
from nightshift.agents import Agent, AgentFields
from nightshift.errors import Conflict, Forbidden, Unprocessable
from nightshift.mcp import McpFile
from nightshift.models import Model, new_id
from nightshift.services import Services

router = APIRouter(prefix="/api/agents", tags=["agents"], dependencies=KEY_SCHEMES)


class NewAgent(AgentFields):
    team: bool = False
    """For everybody; admins only."""


class ChangedAgent(AgentFields):
    revision: Annotated[int, Field(ge=1)]
    """Which one was changed: 412 if there is a newer one."""


class Agents(Model):
    agents: list[Agent]


@router.get("", summary="List your agents, then the team's")
async def list_own_agents(principal: Reader, services: ServicesDep) -> Agents:
    return Agents(agents=await agents.list_agents(services.store, principal.subject))


@router.post("", status_code=201, summary="Make an agent")
async def make_agent(
    new: NewAgent, principal: Writer, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> Agent:
    if new.team and not principal.is_admin:
        raise Forbidden("Only an administrator makes agents for the team; leave `team` out for one of your own")
    refuse_names_of_the_deployment(services, new.mcp)
    id = "a-" + (digest(principal.subject, idempotency_key) if idempotency_key else new_id())[:12]
    await note(services, principal, "agent.make", id, id, f"{new.name}{', for the team' if new.team else ''}")
    return await _at_its_field(agents.make_agent(services.store, principal.subject, id, new.team, new))


@router.get("/{agent_id}", summary="Look at an agent")
async def get_agent(agent_id: str, principal: Reader, services: ServicesDep) -> Agent:
    return (await agents.read_agent(services.store, principal.subject, agent_id)).agent


@router.put("/{agent_id}", summary="Change an agent; it is replaced as a whole, and no session changes")
async def change_agent(agent_id: str, wanted: ChangedAgent, principal: Writer, services: ServicesDep) -> Agent:
    refuse_names_of_the_deployment(services, wanted.mcp)
    kept = await agents.editable(services.store, principal.subject, agent_id, admin=principal.is_admin)
    await note(services, principal, "agent.change", agent_id, new_id(), wanted.name)
    return await _at_its_field(agents.change_agent(services.store, kept, wanted.revision, wanted))


@router.delete("/{agent_id}", status_code=204, summary="Delete an agent; no session changes")
async def delete_agent(agent_id: str, principal: Writer, services: ServicesDep) -> None:
    kept = await agents.editable(services.store, principal.subject, agent_id, admin=principal.is_admin)
    await note(services, principal, "agent.delete", agent_id, new_id())
    await services.store.delete(kept.partition, kept.id)


def refuse_names_of_the_deployment(services: Services, mcp: McpFile | None, agent: str | None = None) -> None:
    """Tools are called after their server, so one name cannot be two servers."""
    twice = sorted(set(mcp.mcp_servers if mcp else ()) & set(services.settings.mcp.servers))
    if not twice:
        return
    told = f"the deployment has an MCP server of this name, which every agent gets: {', '.join(twice)}"
    if agent is not None:
        raise Conflict(f"The agent {agent} cannot be used: {told}. Rename it in the agent")
    raise _problem_of_servers(f"mcpServers.{twice[0]}: {told}; choose another name")


async def _at_its_field(work: Awaitable[Agent]) -> Agent:
    """What cannot be done with the servers is told as what is wrong with them."""
    try:
        return await work
    except Unprocessable as fault:
        if str(fault).startswith("mcpServers."):
            raise _problem_of_servers(str(fault)) from None
        raise


def _problem_of_servers(words: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("body", "mcp"), "msg": words}])
