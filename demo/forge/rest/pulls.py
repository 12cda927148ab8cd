"""Pull requests. Their commits and files are git's answer of the moment."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from demo.forge import writing
from demo.forge.errors import ApiError, invalid, not_found
from demo.forge.git import Git, Heads
from demo.forge.records import Issue, Pull, Repository, now
from demo.forge.rest.call import Call
from demo.forge.shapes import code, pulls
from demo.forge.shapes.links import Json


class PullRequest(BaseModel):
    title: str
    head: str
    base: str
    body: str | None = None
    draft: bool = False


class PullChange(BaseModel):
    title: str | None = None
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    base: str | None = None


class Reviewers(BaseModel):
    reviewers: list[str] = []
    team_reviewers: list[str] = []


class Merge(BaseModel):
    commit_title: str | None = None
    commit_message: str = ""
    sha: str | None = None


@dataclass(frozen=True)
class Sides:
    """A pull request with what git says of it now."""

    issue: Issue
    pull: Pull
    git: Git  # of the base repository, seeing the head's objects too
    heads: Heads


async def sides(call: Call, issue: Issue) -> Sides:
    """Raises ApiError 404 for an issue that is no pull request."""
    pull = issue.pull
    if pull is None:
        raise not_found()
    home, away = call.state.git(issue.repository), call.state.git(pull.head_repository)
    heads = Heads(pull.head_sha, pull.base_sha)
    if issue.state == "open":
        head = await away.resolve(f"refs/heads/{pull.head_ref}")
        base = await home.resolve(f"refs/heads/{pull.base_ref}")
        heads = Heads(head or pull.head_sha, base or pull.base_sha)
    return Sides(issue, pull, home.borrowing(away), heads)


async def shape(call: Call, issue: Issue) -> Json:
    now_at = await sides(call, issue)
    return pulls.pull(call.links, issue, now_at.heads, call.state.records, call.viewer)


async def listing(call: Call) -> Response:
    state, base, head = call.query("state", "open"), call.query("base"), call.query("head")
    found: list[Issue] = []
    for issue in call.state.issues(call.name):
        if issue.pull is None or state not in ("all", issue.state) or base not in ("", issue.pull.base_ref):
            continue
        if head in ("", issue.pull.head_ref, _label(issue.pull)):
            found.append(issue)
    if call.query("direction") == "asc":
        found.reverse()
    part, headers = call.page(found)
    return JSONResponse(await asyncio.gather(*(shape(call, issue) for issue in part)), headers=headers)


async def create(call: Call) -> Response:
    wish = await call.body(PullRequest)
    source, head_ref = _head(call, wish.head)
    head = await call.state.git(source.full_name).resolve(f"refs/heads/{head_ref}")
    base = await call.git.resolve(f"refs/heads/{wish.base}")
    if head is None or base is None:
        raise invalid("PullRequest", "invalid", "head" if head is None else "base")
    new = Pull(
        head_repository=source.full_name,
        head_ref=head_ref,
        base_ref=wish.base,
        head_sha=head,
        base_sha=base,
        draft=wish.draft,
    )
    ahead, _ = await call.git.borrowing(call.state.git(source.full_name)).ahead_behind(base, head)
    if not ahead:
        raise invalid("PullRequest", "custom", message=f"No commits between {wish.base} and {wish.head}")
    # From here to add_issue nothing is awaited: of two calls at once, one sees the other's pull request.
    for other in call.state.issues(call.name):
        if other.state == "open" and other.pull and _same_branches(other.pull, new):
            raise invalid("PullRequest", "custom", message=f"A pull request already exists for {_label(new)}.")
    issue = call.state.add_issue(call.repository, call.viewer.login, wish.title, wish.body, pull=new)
    answer = await _full(call, issue)
    return JSONResponse(answer, 201, headers={"Location": answer["url"]})


async def one(call: Call) -> Response:
    return JSONResponse(await _full(call, call.issue))


async def update(call: Call) -> Response:
    wish, it = await call.body(PullChange), await sides(call, call.issue)
    if wish.base and await it.git.resolve(f"refs/heads/{wish.base}") is None:
        raise invalid("PullRequest", "invalid", "base")
    if wish.state == "open" and it.pull.merged_at:
        raise invalid("PullRequest", "invalid", "state")
    with call.state.change():
        it.issue.title = wish.title or it.issue.title
        if "body" in wish.model_fields_set:
            it.issue.body = wish.body
        it.pull.base_ref = wish.base or it.pull.base_ref
        if wish.state:
            it.pull.head_sha, it.pull.base_sha = it.heads.head, it.heads.base
            call.state.set_state(it.issue, wish.state)
        it.issue.updated_at = now()
    return JSONResponse(await _full(call, it.issue))


async def request_reviews(call: Call) -> Response:
    call.must_push()
    wish, it = await call.body(Reviewers), await sides(call, call.issue)
    if it.issue.author in wish.reviewers:
        raise ApiError(422, "Review cannot be requested from pull request author.")
    with call.state.change():
        it.pull.reviewers = list(dict.fromkeys(it.pull.reviewers + wish.reviewers))
    return JSONResponse(await shape(call, it.issue), 201)


async def files(call: Call) -> Response:
    it = await sides(call, call.issue)
    base = await it.git.merge_base(it.heads.base, it.heads.head) or it.heads.base
    changes = await it.git.changes(base, it.heads.head)
    return call.listing(changes, lambda one: code.change(call.links, call.name, it.heads.head, one))


async def commits(call: Call) -> Response:
    it = await sides(call, call.issue)
    found = await it.git.commits(it.heads.head, f"^{it.heads.base}")
    return call.listing(found[::-1], lambda one: code.commit(call.links, call.name, one))


async def is_merged(call: Call) -> Response:
    it = await sides(call, call.issue)
    return Response(status_code=204 if it.pull.merged_at else 404)


async def merge(call: Call) -> Response:
    """As in a protected repository: somebody else must have approved."""
    call.must_push()
    wish, it = await call.body(Merge), await sides(call, call.issue)
    reviews = [r for r in call.state.records.reviews if (r.repository, r.number) == (call.name, it.issue.number)]
    if not any(r.state == "APPROVED" and r.author != it.issue.author for r in reviews):
        raise ApiError(405, "At least 1 approving review is required by reviewers with write access.")
    if wish.sha not in (None, it.heads.head):
        raise ApiError(409, "Head branch was modified. Review and try the merge again.")
    if it.issue.state == "closed" or not await it.git.mergeable(it.heads.base, it.heads.head):
        raise ApiError(405, "Pull Request is not mergeable")
    title = wish.commit_title or f"Merge pull request #{it.issue.number} from {_label(it.pull).replace(':', '/')}"
    away = call.state.git(it.pull.head_repository)
    message = f"{title}\n\n{wish.commit_message}"
    sha = await writing.merge(call.git, it.pull.base_ref, it.heads, away, message, call.viewer.login)
    with call.state.change():
        it.pull.head_sha, it.pull.base_sha, it.pull.merge_commit_sha = it.heads.head, it.heads.base, sha
        it.pull.merged_at, it.pull.merged_by = now(), call.viewer.login
        call.state.set_state(it.issue, "closed")
    await call.state.pushed(call.name)
    return JSONResponse({"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


async def _full(call: Call, issue: Issue) -> Json:
    it = await sides(call, issue)
    base = await it.git.merge_base(it.heads.base, it.heads.head) or it.heads.base
    (ahead, _), changes, mergeable = await asyncio.gather(
        it.git.ahead_behind(it.heads.base, it.heads.head),
        it.git.changes(base, it.heads.head),
        it.git.mergeable(it.heads.base, it.heads.head),
    )
    additions, deletions = sum(c.additions for c in changes), sum(c.deletions for c in changes)
    measure = pulls.Measure(mergeable, ahead, additions, deletions, len(changes))
    brief = pulls.pull(call.links, issue, it.heads, call.state.records, call.viewer)
    return brief | pulls.measured(call.links, issue, measure, call.state.records)


def _head(call: Call, head: str) -> tuple[Repository, str]:
    """`branch` of this repository, or `owner:branch` of that owner's fork of it (or of this one again)."""
    owner, colon, branch = head.rpartition(":")
    if not colon or owner == call.repository.owner:
        return call.repository, branch
    for repository in call.state.records.repositories.values():
        if repository.owner == owner and repository.fork_of == call.name and call.viewer.reads(repository.full_name):
            return repository, branch
    raise invalid("PullRequest", "invalid", "head")


def _label(pull: Pull) -> str:
    return f"{pull.head_repository.partition('/')[0]}:{pull.head_ref}"


def _same_branches(one: Pull, other: Pull) -> bool:
    return (one.base_ref, _label(one)) == (other.base_ref, _label(other))
