"""Custom agents: a name, what it is told, which tools and MCP servers it has, and what its sessions begin with.

An agent belongs to the team, whose admins edit it, or to one person, who alone sees it. Its document has the values of
its servers' `env` and `headers` apart from the rest, so that nothing which reads an `Agent` can show them. A session
keeps the agent as it was when it began, in a document of its own: editing or deleting an agent changes no session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from nightshift.errors import Conflict, Forbidden, NotFound, PreconditionFailed, Unprocessable
from nightshift.log import utc_now
from nightshift.mcp import McpFile, of_a_person, read, set_apart
from nightshift.models import Effort, Id, Model, ModelName
from nightshift.ports import Body, Document, Store

TOOLS = (
    *("shell", "background", "view", "edit", "create", "insert", "undo", "search", "find_files"),
    *("clone", "pull_request", "pr_read", "pr_reply", "ci_wait"),
    *("issue_read", "issue_search", "issue_comment", "issue_create"),
    *("todo", "message_user", "send_file", "set_title", "propose_plan"),
)
"""The worker's own, in its order; a test compares."""
ALWAYS = frozenset({"view", "propose_plan"})
"""Long outputs are put away in files, which only `view` reads; a session may ask for a plan first."""
MOST_AGENTS = 100
"""Of the team, and of each person."""
SNAPSHOT = "agent"
"""Id of the document in a session's partition."""
_TEAM = "team"


def _known(tools: list[str]) -> list[str]:
    if unknown := sorted(set(tools) - set(TOOLS)):
        raise ValueError(f"there is no tool {', '.join(unknown)}; there are: {', '.join(TOOLS)}")
    return [tool for tool in TOOLS if tool in ALWAYS or tool in tools]


def _told(text: str) -> str:
    if not text.strip():
        raise ValueError("give it a name")
    return text.strip()


def _parsed(given: object) -> object:
    """Of the text of a file, too; an empty one is none."""
    return (read(given) if given.strip() else None) if isinstance(given, str) else given


class AgentFields(Model):
    """What people write of an agent."""

    name: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_told)]
    description: str = Field(default="", max_length=300)
    """For whoever chooses."""
    prompt: str = Field(default="", max_length=20_000)
    """Follows the worker's own system prompt."""
    model: ModelName | None = None
    effort: Effort | None = None
    budget_usd: float | None = Field(default=None, gt=0, le=1_000_000)
    """These three where a session names none."""
    tools: Annotated[list[str], AfterValidator(_known)] | None = None
    """The worker's own tools that it gets; None: all. Those of MCP servers are chosen at the server."""
    mcp: Annotated[Annotated[McpFile, AfterValidator(of_a_person)] | None, BeforeValidator(_parsed)] = None
    """Servers besides the deployment's: an `mcp.json`, or its text. Values of `env` and `headers` are kept and never
    shown again; `***` keeps one."""


class Agent(AgentFields):
    """As its readers see it: `***` stands for values of `env` and `headers`."""

    id: Id
    team: bool
    """It is everybody's, and edited by admins; else one person's own."""
    revision: int
    """Grows with each change."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Snapshot:
    """An agent as it was, with what nobody reads but the worker of its session."""

    agent: Agent
    values: Mapping[str, str] = field(repr=False)


async def list_agents(store: Store, subject: str) -> list[Agent]:
    """Those that this person may use: their own, then the team's, each by name."""
    found: list[Agent] = []
    for partition in (f"person:{subject}", _TEAM):
        documents = await store.range(partition, "agent:", "agent;", limit=MOST_AGENTS)
        found += sorted(map(_agent, documents), key=lambda agent: (agent.name.casefold(), agent.id))
    return found


async def read_agent(store: Store, subject: str, id: str) -> Snapshot:
    """Raises NotFound, also for another person's."""
    document = await _document(store, subject, id)
    return Snapshot(_agent(document), document.body["values"])


async def make_agent(store: Store, subject: str, id: str, team: bool, wanted: AgentFields) -> Agent:
    """A repeat answers the same. Raises Conflict if the id was used for another one."""
    owner = _TEAM if team else f"person:{subject}"
    now = utc_now()
    mcp, values = _apart(wanted, None)
    agent = _with(wanted, mcp, id=id, team=team, revision=1, created_at=now, updated_at=now)
    existing = await store.read(owner, f"agent:{id}")
    if existing is None:
        if len(await store.range(owner, "agent:", "agent;", limit=MOST_AGENTS)) >= MOST_AGENTS:
            raise Unprocessable(f"There are {MOST_AGENTS} agents, which is the most there can be; delete one first")
        try:
            await store.create(owner, f"agent:{id}", _body(agent, values))
            return agent
        except Conflict:
            existing = await _document(store, subject, id)
    if not _same(existing, agent, values):
        raise Conflict("This Idempotency-Key was used for another agent; use a new key for a new agent")
    return _agent(existing)


async def editable(store: Store, subject: str, id: str, *, admin: bool) -> Document:
    """What may be changed or deleted. Raises NotFound, and Forbidden for the team's if one is no admin."""
    document = await _document(store, subject, id)
    if document.partition == _TEAM and not admin:
        raise Forbidden("This agent is the team's: an administrator changes it")
    return document


async def change_agent(store: Store, document: Document, revision: int, wanted: AgentFields) -> Agent:
    """Replace what people write. Raises PreconditionFailed if it is of another revision; a repeat is no change."""
    old = _agent(document)
    mcp, values = _apart(wanted, Snapshot(old, document.body["values"]))
    new = _with(
        wanted,
        mcp,
        id=old.id,
        team=old.team,
        revision=old.revision + 1,
        created_at=old.created_at,
        updated_at=utc_now(),
    )
    if _same(document, new, values):
        return old
    changed = PreconditionFailed(
        f"This agent was changed since you opened it (it is at revision {old.revision}); load it again, then change it"
    )
    if old.revision != revision:
        raise changed
    try:
        await store.replace(document, _body(new, values))
    except PreconditionFailed:
        raise changed from None
    return new


async def agent_of(store: Store, subject: str, session_id: str, id: str) -> Snapshot:
    """What a session of this id begins with: the agent as it is now, or as it was at an earlier try, whatever became of
    it since. Raises NotFound, and Conflict if the earlier try named another."""
    kept = await read_snapshot(store, session_id)
    if kept and kept.agent.id != id:
        raise Conflict("This Idempotency-Key was used for a different request; use a new key for a new session")
    return kept or await read_agent(store, subject, id)


async def keep_snapshot(store: Store, session_id: str, snapshot: Snapshot) -> Snapshot:
    """For a session that is created next, so that none lacks its agent. Answers the first one that was kept. Should the
    session never follow, nobody knows its id, and so none of this."""
    try:
        await store.create(session_id, SNAPSHOT, _body(snapshot.agent, snapshot.values))
    except Conflict:
        return await read_snapshot(store, session_id) or snapshot
    return snapshot


async def read_snapshot(store: Store, session_id: str) -> Snapshot | None:
    """None for a session that began without an agent."""
    document = await store.read(session_id, SNAPSHOT)
    return None if document is None else Snapshot(_agent(document), document.body["values"])


async def _document(store: Store, subject: str, id: str) -> Document:
    for partition in (f"person:{subject}", _TEAM):
        if document := await store.read(partition, f"agent:{id}"):
            return document
    raise NotFound(f"There is no agent '{id}'")


def _apart(wanted: AgentFields, old: Snapshot | None) -> tuple[McpFile | None, dict[str, str]]:
    if wanted.mcp is None:
        return None, {}
    return set_apart(wanted.mcp, old.agent.mcp if old else None, old.values if old else {})


def _with(wanted: AgentFields, mcp: McpFile | None, **own: Any) -> Agent:
    fields = {name: getattr(wanted, name) for name in AgentFields.model_fields}
    return Agent.model_validate({**fields, **own, "mcp": mcp})


def _same(document: Document, agent: Agent, values: Mapping[str, str]) -> bool:
    kept = _agent(document)
    written = AgentFields.model_fields
    return document.body["values"] == values and all(getattr(kept, each) == getattr(agent, each) for each in written)


def _body(agent: Agent, values: Mapping[str, str]) -> Body:
    return {"agent": agent.model_dump(mode="json", by_alias=True), "values": dict(values)}


def _agent(document: Document) -> Agent:
    return Agent.model_validate(document.body["agent"])
