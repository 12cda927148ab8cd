"""What the session routes take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.auth import Principal
from api.doorbell import Doorbell
from nightshift.agents import Agent
from nightshift.models import (
    MAX_FILES,
    MAX_TEXT,
    AgentRef,
    Effort,
    Failure,
    FileRef,
    Id,
    Model,
    ModelName,
    Need,
    Phase,
    PullRequest,
    Session,
    SessionRequest,
    Todo,
    UsageTotal,
)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "say something: it has only white space")
    return text


type Said = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_not_blank)]


class NewSession(SessionRequest):
    """What to do, and optionally where and with which model."""

    message: Said

    def request(self, agent: Agent | None = None) -> SessionRequest:
        """With the agent's model, effort and budget where none is named."""
        asked = SessionRequest.model_validate(self.model_dump())
        if agent is None:
            return asked
        named = {name: getattr(asked, name) or getattr(agent, name) for name in ("model", "effort", "budget_usd")}
        return asked.model_copy(update=named)


class NewMessage(Model):
    text: Said
    files: list[FileRef] = Field(default=[], max_length=MAX_FILES)
    """Uploaded before, with PUT /api/sessions/{id}/files."""
    model: ModelName | None = None
    effort: Effort | None = None
    approves: Id | None = None
    """A tool call that asked for the user's yes."""
    plan: bool | None = None
    """true: propose a plan before anything more is changed; false: go on without; left out: as before."""


class NewBudget(Model):
    budget_usd: float = Field(gt=0, le=1_000_000)
    """US dollars in all, what was spent before included. It may be lower than it was."""


class Links(Model):
    """Where to go from here."""

    self: str
    items: str
    messages: str
    interrupt: str
    stop: str
    resume: str
    budget: str
    delete: str
    live: str
    files: str
    page: str


class SessionView(Model):
    """A session as its readers see it. Lists are as short as the agent keeps them; times are UTC."""

    id: str
    owner: str
    owner_name: str
    title: str
    """The agent's, else the request's, else the first line of the message."""
    repository: str | None
    agent: AgentRef | None
    model: str
    effort: Effort | None
    phase: Phase
    stage: str
    needs_user: Need | None
    """Why it does not go on before you say something; None while it works, and when it is done."""
    since: datetime | None
    """When it came to this phase."""
    deadline: datetime | None
    """When this phase is over, whatever happens."""
    machine_since: datetime | None
    generation: int
    turns: int
    item_seq: int
    created_at: datetime
    updated_at: datetime
    last_message_seq: int
    answered_seq: int
    todo: list[Todo]
    pull_requests: list[PullRequest]
    usage: UsageTotal
    budget_usd: float | None
    """What it may cost; what it has cost is `usage.cost_usd`."""
    failure: Failure | None
    links: Links
    durable: dict[str, str] | None = None
    """Durable's own management URLs, for admins only."""


class SessionsPage(Model):
    sessions: list[SessionView]
    next_cursor: str | None
    """None at the end."""


class Accepted(Model):
    """The session was stored and will be worked on."""

    id: str
    phase: Phase
    links: Links
    awaited_files: list[str]
    """Names of its files that are still to be uploaded: it begins with the last, and is given up after a day."""
    durable: dict[str, str] | None = None


class Stored(Model):
    """The entry's place in the session's log."""

    id: str
    seq: int


class LiveUrl(Model):
    url: str | None
    """A WebSocket that tells when there is something new; None: poll."""


def links(session_id: str) -> Links:
    this = f"/api/sessions/{session_id}"
    return Links(
        self=this,
        items=f"{this}/items",
        messages=f"{this}/messages",
        interrupt=f"{this}/interrupt",
        stop=f"{this}/stop",
        resume=f"{this}/resume",
        budget=f"{this}/budget",
        delete=this,
        live=f"{this}/live",
        files=f"{this}/files",
        page=f"/sessions/{session_id}",
    )


def view(
    session: Session, default_model: str, durable: dict[str, str] | None = None, default_budget: float | None = None
) -> SessionView:
    kept = session.model_dump(exclude={"request", "revision", "title"})
    return SessionView.model_validate(
        kept
        | {
            "title": session.shown_title,
            "repository": session.request.repository,
            "model": session.request.model or default_model,
            "effort": session.request.effort,
            "budget_usd": session.budget_usd or session.request.budget_usd or default_budget,
            "links": links(session.id),
            "durable": durable,
        }
    )


def durable_urls(principal: Principal, doorbell: Doorbell, session_id: str) -> dict[str, str] | None:
    """They carry a key to the whole task hub, so nobody but an admin gets them."""
    return doorbell.management_urls(session_id) if principal.is_admin else None
