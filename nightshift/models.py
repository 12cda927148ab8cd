"""What is stored and what travels: sessions, items, control requests, reports, usage.

All times are UTC. `seq` counts 1, 2, 3 ... within one session and one stream, without gaps.
A `turn` is named by the `seq` of the user message that began it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_TEXT = 200_000
"""Characters of one message or one tool output. Longer text is refused at the door (422)."""

Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:-]+$")]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
ModelName = Annotated[str, Field(min_length=1, max_length=200)]
type Effort = Literal["minimal", "low", "medium", "high", "xhigh"]
"""How long a model reasons before it answers, in the API's own words."""
EFFORTS: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh")
"""Least first."""

MAX_FILES = 20
MAX_FILE = 25 << 20
"""Bytes."""
"""Files of one message or one tool output."""

MAX_PLAN = 20_000
"""Characters of a plan."""


def new_id() -> str:
    """A client-made id: repeating a request with the same one is a no-op."""
    return uuid4().hex


class Model(BaseModel):
    """Base: unknown fields are refused, so that a typing error in a request is told, not ignored."""

    model_config = ConfigDict(extra="forbid")


class Phase(StrEnum):
    """Where a session stands. Everything but `stopped` and `deleted` has a deadline and an exit."""

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"


class Need(StrEnum):
    """Why a session does not go on before its user says something. Without one it is done, or at work."""

    APPROVAL = "approval"
    """A risky action waits for a yes."""
    PLAN = "plan"
    """A plan waits for a yes, or for what should be other about it."""
    BUDGET = "budget"
    LIMIT = "limit"
    """Steps or time are used up."""
    FAILURE = "failure"


class Stream(StrEnum):
    """The three append-only streams of a session's log."""

    ITEM = "item"
    CONTROL = "control"
    REPORT = "report"


class ItemKind(StrEnum):
    USER_MESSAGE = "user_message"
    ASSISTANT_MESSAGE = "assistant_message"
    REASONING = "reasoning"
    TOOL_CALL = "tool_call"
    TOOL_OUTPUT = "tool_output"
    NOTICE = "notice"


class FileRef(Model):
    """A file that a message or a tool output shows. Its content is a blob of the session, named by its SHA-256."""

    name: str = Field(pattern=r"^[0-9a-f]{64}$")
    filename: str = Field(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f]+$")
    """What people call it."""
    content_type: str = Field(default="application/octet-stream", max_length=100)
    size: int = Field(ge=0)
    """Bytes."""


class Todo(Model):
    text: str = Field(max_length=500)
    status: Literal["pending", "in_progress", "done"] = "pending"


class PullRequest(Model):
    repository: str
    number: int
    url: str
    title: str
    branch: str


class Approval(Model):
    """What waits for the user's yes: a user message whose `approves` is the id of this call's item."""

    kind: Literal["action", "plan"] = "action"
    """A risky action, allowed once; or a plan of the work, after whose approval the agent may change things."""
    action: str = Field(max_length=MAX_PLAN)
    """What would be done, as a person can check it. A plan's is Markdown."""
    reason: str = Field(max_length=1000)
    """Why it is not done without asking."""
    lasting: bool = False
    """The yes is for the rest of the session, not for once."""


class Effect(Model):
    """What a tool changed that the session shows outside the log: its title, todo list, pull request, or a question."""

    title: str | None = Field(default=None, max_length=120)
    todo: list[Todo] | None = None
    pull_request: PullRequest | None = None
    approval: Approval | None = None


class NewItem(Model):
    """An entry of the conversation log as its author sends it; the store adds `seq` and `created_at`."""

    id: Id = Field(default_factory=new_id)
    kind: ItemKind
    turn: int | None = None
    generation: int | None = None
    text: Text = ""
    author: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = Field(default=None, max_length=MAX_TEXT)
    is_error: bool = False
    final: bool = False
    """assistant_message only: this text ended the turn."""
    code: str | None = None
    """A stable name of what happened: a notice's, such as `machine_starting` or `start_failed`; `refusal` of an
    assistant_message that is one."""
    level: Literal["info", "warning", "error"] = "info"
    effect: Effect | None = None
    files: list[FileRef] = Field(default=[], max_length=MAX_FILES)
    model: ModelName | None = None
    """user_message only: the model for what follows; None: as before."""
    effort: Effort | None = None
    """user_message only: the reasoning effort for this turn; None: the session's."""
    approves: Id | None = None
    """user_message only: the tool call (its item's id) that the user says yes to."""
    plan: bool | None = None
    """user_message only: whether from here on a plan must be approved before anything is changed; None: as before."""
    raw: dict[str, Any] | None = None
    """The model API's own output item, sent back to it unchanged (encrypted reasoning lives here)."""


class Item(NewItem):
    seq: int
    created_at: datetime


class ControlKind(StrEnum):
    INTERRUPT = "interrupt"
    STOP = "stop"
    RESUME = "resume"
    DELETE = "delete"
    BUDGET = "budget"


class NewControl(Model):
    id: Id = Field(default_factory=new_id)
    kind: ControlKind
    at_seq: int = 0
    """The newest item's seq when it was asked: it concerns what was said up to there."""
    author: str | None = None
    budget_usd: float | None = None
    """budget only: what the session and its children may cost from now on, all that was spent before included."""


class Control(NewControl):
    seq: int
    created_at: datetime


class Tokens(Model):
    """Cumulative tokens of one model within one turn, as the model reported them."""

    input: int = Field(default=0, ge=0)
    """All prompt tokens, the cached ones included."""
    cached: int = Field(default=0, ge=0)
    output: int = Field(default=0, ge=0)
    """All completion tokens, the reasoning ones included."""
    reasoning: int = Field(default=0, ge=0)
    calls: int = Field(default=0, ge=0)

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(**{name: getattr(self, name) + getattr(other, name) for name in Tokens.model_fields})


class TurnUsage(Model):
    turn: int
    model: ModelName
    above: int = Field(default=0, ge=0)
    """Of calls with more input tokens than this, where the price table draws a line; 0: of all others."""
    tokens: Tokens


type DraftKind = Literal["text", "reasoning", "tool", "wait"]
"""wait: nothing is written, the model server is being waited for."""
MAX_DRAFT = 4000


class Draft(Model):
    """What the model is writing right now: shown, never stored. Each holds the end of all there is, so that a lost
    one is made up for by the next, and the item of the same id by all."""

    turn: int
    id: Id
    """The item's that it will become."""
    kind: DraftKind
    offset: int = Field(default=0, ge=0)
    """Characters left out before `text`."""
    text: Annotated[str, Field(max_length=MAX_DRAFT)]
    """Empty: take it away."""


class ReportKind(StrEnum):
    STARTED = "started"
    PROGRESS = "progress"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class NewReport(Model):
    """What a worker tells about its turn. `progress` is a heartbeat: it replaces the last one and rings nobody."""

    id: Id = Field(default_factory=new_id)
    kind: ReportKind
    generation: int
    turn: int | None = None
    through_seq: int = 0
    """Every user message up to this seq has been served."""
    detail: str = Field(default="", max_length=4000)
    needs_user: Need | None = None
    """Why the turn ended, if it did so before the work was done."""
    usage: list[TurnUsage] = []


class Report(NewReport):
    seq: int
    created_at: datetime


class Failure(Model):
    """Why a session could not go on: where it stood, what happened, what a person can do."""

    stage: str
    reason: str
    advice: str = ""


class UsageTotal(Model):
    """Tokens and money of a session. `cost_usd` is None while any of its models is unpriced."""

    tokens: Tokens = Tokens()
    cost_usd: float | None = 0.0
    unpriced: list[str] = []


class AgentRef(Model):
    """Which agent a session began with; `nightshift.agents` keeps what that agent was then."""

    id: str
    name: str


class SessionRequest(Model):
    """What a person hands over to begin a session."""

    message: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    repository: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    agent: Id | None = None
    """Whose prompt, tools and servers it begins with, and whose model, effort and budget where none is named."""
    model: ModelName | None = None
    effort: Effort | None = None
    files: list[FileRef] = Field(default=[], max_length=MAX_FILES)
    budget_usd: float | None = Field(default=None, gt=0, le=1_000_000)
    """What the session and its children may cost; None: the deployment's default."""
    title: str | None = Field(default=None, max_length=120)
    plan: bool = False
    """Only look at first, and propose a plan; change things once it is approved."""


class Session(Model):
    """The session document: `request` is written once by the API; the rest only by its own orchestration."""

    id: str
    owner: str
    owner_name: str = ""
    """For people; `owner` alone says whose it is."""
    request: SessionRequest
    agent: AgentRef | None = None
    """Written once, like `request`."""
    created_at: datetime
    updated_at: datetime
    revision: int = 0
    """Grows with each projection, so that a late repeat never overwrites a newer one."""
    phase: Phase = Phase.STARTING
    stage: str = "queued"
    needs_user: Need | None = None
    """None as soon as the user has said something."""
    since: datetime | None = None
    """When it came to this phase."""
    deadline: datetime | None = None
    """When this phase is over, whatever happens."""
    machine_since: datetime | None = None
    """When its machine was started last."""
    generation: int = 0
    turns: int = 0
    item_seq: int = 0
    """The newest item when this was written."""
    last_message_seq: int = 0
    answered_seq: int = 0
    title: str | None = None
    todo: list[Todo] = []
    pull_requests: list[PullRequest] = []
    usage: UsageTotal = UsageTotal()
    budget_usd: float | None = None
    """The newest budget that the user set on the way; None: the request's."""
    failure: Failure | None = None

    @property
    def shown_title(self) -> str:
        """The agent's, else the user's, else how the task begins."""
        return self.title or self.request.title or self.request.message.strip().splitlines()[0][:80]


class Power(StrEnum):
    """What a machine is doing, as its provider says."""

    ABSENT = "absent"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DEALLOCATED = "deallocated"
    FAILED = "failed"


class MachineState(Model):
    power: Power
    generation: int = 0
    stage: str = ""
    """Words for people: 'allocating', 'booting', 'worker starting' ..."""
    failure: Failure | None = None


class MachineInfo(Model):
    """One machine as the janitor sees it."""

    name: str
    session_id: str
    power: Power
    generation: int
    started_at: datetime | None = None


class MachineSpec(Model):
    """Everything a machine needs to be told; the name follows from the session id.

    Handed to the worker when its machine starts: on stdin locally, as user data in Azure. Nothing in it opens more
    than the one session; what else a worker has to know, it asks for with the token (`WorkerConfig`).
    """

    session_id: str
    generation: int
    api_url: str
    token: str = Field(repr=False)


class ModelEndpoint(Model):
    """An OpenAI-compatible server."""

    base_url: str | None = None
    """None: OpenAI's own."""
    auth: Literal["key", "identity"] = "key"
    """identity: the worker signs in as its machine (azure-identity, scope `IDENTITY_SCOPE`)."""
    api: Literal["responses", "chat"] = "responses"
    api_key: str = Field(default="", repr=False)


IDENTITY_SCOPE = "https://cognitiveservices.azure.com/.default"
"""What a token for a model account of Azure is asked for."""


class McpServer(Model):
    """A server of the Model Context Protocol: a program on the machine (`command`), or one elsewhere (`url`)."""

    type: Literal["stdio", "http", "streamable-http"] | None = None
    """Follows from `command` or `url`; files of other programs name it."""
    command: str | None = Field(default=None, min_length=1)
    args: list[str] = []
    env: dict[str, str] = {}
    """All that the program gets besides PATH, HOME and their like. May name secrets: ${NIGHTSHIFT_MCP_SECRET_X}."""
    cwd: str | None = None
    """Relative to the folder with the clones, which is also the default."""
    url: str | None = Field(default=None, pattern=r"^https?://")
    headers: dict[str, str] = {}
    """A value may name a secret, as in `env`."""
    disabled: bool = False
    timeout: float = Field(default=120, gt=0, le=3600)
    """Seconds that a call may take without a sign of progress."""
    tools: list[str] | None = None
    """The server's tools that the agent gets; None: all."""
    ask: list[str] = []
    """Tools whose every call wants the user's yes."""
    allow: list[str] = []
    """Tools that are never asked for, whatever they do and say of themselves."""

    @model_validator(mode="after")
    def _one_rule_for_a_tool(self) -> Self:
        if both := {*self.ask} & {*self.allow}:
            raise ValueError(f"has {', '.join(sorted(both))} under `ask` and `allow`")
        return self

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> Self:
        local = bool(self.args or self.env or self.cwd or self.type == "stdio")
        remote = bool(self.headers or self.type in ("http", "streamable-http"))
        if (self.command is None) == (self.url is None):
            raise ValueError("needs either `command` or `url`")
        if (self.url and local) or (self.command and remote):
            raise ValueError(
                "mixes `command`, `args`, `env`, `cwd` (a program) with `url`, `headers` (a server elsewhere)"
            )
        return self


class Mcp(Model):
    """The servers whose tools an agent gets, by name, and the values of the secrets that they name."""

    servers: dict[str, McpServer] = {}
    secrets: dict[str, str] = Field(default={}, repr=False)


class WorkerConfig(Model):
    """GET /api/worker/session: what to be."""

    session_id: str
    generation: int
    endpoint: ModelEndpoint = ModelEndpoint()
    model: str
    effort: Effort | None = None
    repository: str | None
    common_prompt: str = ""
    """What the team tells every agent, appended to the worker's own system prompt."""
    agent_prompt: str = ""
    """What the session's custom agent is told, between the two."""
    tools: list[str] | None = None
    """The worker's own tools that the agent gets; None: all."""
    github_api_url: str
    github_host: str
    """scheme://host[:port] of git over HTTP, where the credential helper answers."""
    mcp: Mcp = Mcp()
    keeps_files: bool = True
    """The machine's disk outlives its deallocation."""
    max_steps: int
    """Model calls of one turn."""
    turn_seconds: float = 4 * 3600.0
    """Working time of one turn."""
    session_steps: int = 1000
    """Model calls of the session before it asks its user, who lets it make as many again by saying anything."""
    session_seconds: float = 24 * 3600.0
    """Its working time, in the same way."""
    context_window: int = 128_000
    """Input tokens that a model takes which is not in `context_windows`."""
    context_windows: dict[str, int] = {}
    """By model."""
    price_steps: list[int] = []
    """Input tokens of a call above which some model's price is another: usage is counted apart at each."""
    telemetry: str = ""
    """Connection string of Application Insights, which opens nothing; empty: the worker's spans go nowhere."""
    heartbeat_seconds: float


class Reservation(Model):
    """A model call that is about to be made, put to the session's budget. A session has at most one open: a new one
    replaces it, and the report of the call's usage settles it."""

    id: Id
    model: ModelName
    input_tokens: int = Field(ge=0)
    """As the worker estimates them."""
    max_output_tokens: int = Field(ge=1)
    """What the worker would like to be able to get."""
    usage: list[TurnUsage] = []
    """Cumulative usage of the turn, as in a report: a lost report must not make room for another call."""


class Grant(Model):
    """The call may be made."""

    max_output_tokens: int | None = None
    """What the rest of the budget pays for; None: there is no budget."""
    remaining_usd: float | None = None
    """Of the budget, after this call; None: there is no budget."""


class GitHubToken(Model):
    """Answer of POST /api/worker/github-token."""

    token: str = Field(repr=False)
    expires_at: datetime | None = None


class ItemsPage(Model):
    items: list[Item]
    controls: list[Control] = []
    last_seq: int
    """Seq of the newest item of the session, 0 if there is none."""
