"""What the forge remembers beside its git repositories. Issues and pull requests share their numbers, as on GitHub."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

Scopes = Literal["rw", "ro"]


def now() -> datetime:
    """GitHub's timestamps have whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


class Token(BaseModel):
    """Kept as a digest only: the file of records opens nothing."""

    digest: str
    login: str
    scopes: Scopes
    repositories: list[str] | None = None  # None: all of them
    expires_at: datetime | None = None

    def reads(self, full_name: str) -> bool:
        return self.repositories is None or full_name in self.repositories

    def writes(self, full_name: str) -> bool:
        return self.scopes == "rw" and self.reads(full_name)


class Installation(BaseModel):
    """A GitHub App at an account. Its tokens are `Token`s of the App's bot."""

    id: int
    app: str
    account: str
    repositories: list[str]
    permissions: dict[str, str]
    suspended: bool = False
    created_at: datetime = Field(default_factory=now)


class Repository(BaseModel):
    id: int
    owner: str
    name: str
    description: str | None = None
    default_branch: str = "main"
    fork_of: str | None = None
    collaborators: list[str] | None = None  # who may push besides the owner; None: everybody with a token that writes
    size: int = 0  # KiB, as it is said to be
    hidden: int = 0  # so many requests find nothing yet: a fork takes its time
    last_number: int = 0
    created_at: datetime = Field(default_factory=now)
    pushed_at: datetime = Field(default_factory=now)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    def pushable(self, token: Token) -> bool:
        return token.writes(self.full_name) and self.association(token.login) != "NONE"

    def association(self, login: str) -> str:
        if login == self.owner:
            return "OWNER"
        return "COLLABORATOR" if self.collaborators is None or login in self.collaborators else "NONE"


class Pull(BaseModel):
    head_repository: str
    head_ref: str
    base_ref: str
    head_sha: str  # as last seen: while the branch lives, git is asked instead
    base_sha: str
    draft: bool = False
    reviewers: list[str] = []
    merged_at: datetime | None = None
    merged_by: str | None = None
    merge_commit_sha: str | None = None


class Kept(BaseModel):
    """What belongs to a repository (`owner/name`)."""

    id: int
    repository: str


class Issue(Kept):
    number: int
    author: str
    association: str = "COLLABORATOR"
    title: str
    body: str | None = None
    state: Literal["open", "closed"] = "open"
    state_reason: str | None = None
    labels: list[str] = []
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)
    closed_at: datetime | None = None
    pull: Pull | None = None


class Written(Kept):
    """Anything that somebody wrote below an issue or a pull request."""

    number: int
    author: str
    association: str = "COLLABORATOR"
    body: str
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)


class Comment(Written):
    pass


class Review(Written):
    state: Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED"]
    commit_sha: str


class ReviewComment(Written):
    commit_sha: str
    path: str
    line: int | None = None
    diff_hunk: str = ""
    review_id: int | None = None
    in_reply_to: int | None = None


class CheckRun(Kept):
    head_sha: str
    name: str
    status: str = "queued"
    conclusion: str | None = None
    details_url: str | None = None
    external_id: str = ""
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    workflow_run: int | None = None
    log: str = ""  # of the job that this is, if it belongs to a workflow's run


class WorkflowRun(Kept):
    head_sha: str
    name: str
    number: int
    status: Literal["queued", "in_progress", "completed"] = "queued"
    conclusion: str | None = None
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)


class Status(Kept):
    sha: str
    creator: str
    state: Literal["error", "failure", "pending", "success"]
    context: str = "default"
    description: str | None = None
    target_url: str | None = None
    created_at: datetime = Field(default_factory=now)


class Records(BaseModel):
    version: Literal[1] = 1
    last_id: int = 0
    apps: dict[str, str] = {}  # id -> public key, PEM
    installations: list[Installation] = []
    tokens: dict[str, Token] = {}
    repositories: dict[str, Repository] = {}
    issues: list[Issue] = []
    comments: list[Comment] = []
    reviews: list[Review] = []
    review_comments: list[ReviewComment] = []
    check_runs: list[CheckRun] = []
    workflow_runs: list[WorkflowRun] = []
    statuses: list[Status] = []

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id
