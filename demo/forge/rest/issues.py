"""Issues; pull requests appear among them, as on GitHub."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, RootModel
from starlette.responses import JSONResponse, Response

from demo.forge.errors import invalid
from demo.forge.records import Issue, now
from demo.forge.rest.call import Call
from demo.forge.shapes import issues as shapes
from demo.forge.shapes.links import Json


class NewIssue(BaseModel):
    title: str
    body: str | None = None
    labels: list[str] = []


class IssueChange(BaseModel):
    title: str | None = None
    body: str | None = None
    state: Literal["open", "closed"] | None = None
    state_reason: str | None = None
    labels: list[str] | None = None


class NamedLabels(BaseModel):
    labels: list[str]


class Labels(RootModel[NamedLabels | list[str]]):
    """GitHub takes the bare list too, and PyGithub sends that."""

    @property
    def names(self) -> list[str]:
        return self.root.labels if isinstance(self.root, NamedLabels) else self.root


async def listing(call: Call) -> Response:
    state, creator = call.query("state", "open"), call.query("creator")
    labels = {name for name in call.query("labels").split(",") if name}
    since = _moment(call.query("since"))
    found = [
        issue
        for issue in call.state.issues(call.name)
        if state in ("all", issue.state)
        and creator in ("", issue.author)
        and labels <= set(issue.labels)
        and issue.updated_at >= since
    ]
    if call.query("direction") == "asc":
        found.reverse()
    return call.listing(found, lambda issue: shape(call, issue))


async def create(call: Call) -> Response:
    wish = await call.body(NewIssue)
    issue = call.state.add_issue(call.repository, call.viewer.login, wish.title, wish.body, wish.labels)
    return JSONResponse(shape(call, issue), 201, headers={"Location": shape(call, issue)["url"]})


async def one(call: Call) -> Response:
    return JSONResponse(shape(call, call.issue))


async def update(call: Call) -> Response:
    wish, issue = await call.body(IssueChange), call.issue
    with call.state.change():
        issue.title = wish.title or issue.title
        if "body" in wish.model_fields_set:
            issue.body = wish.body
        if wish.labels is not None:
            issue.labels = wish.labels
        if wish.state:
            call.state.set_state(issue, wish.state, wish.state_reason)
        issue.updated_at = now()
    return JSONResponse(shape(call, issue))


async def labels(call: Call) -> Response:
    return call.listing(call.issue.labels, lambda name: shapes.label(call.links, call.name, name))


async def add_labels(call: Call) -> Response:
    call.must_push()
    wish, issue = await call.body(Labels), call.issue
    with call.state.change():
        issue.labels = list(dict.fromkeys(issue.labels + wish.names))
    return await labels(call)


def shape(call: Call, issue: Issue) -> Json:
    comments = call.state.records.comments
    count = sum((it.repository, it.number) == (issue.repository, issue.number) for it in comments)
    return shapes.issue(call.links, issue, count)


def _moment(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given) if given else datetime.min
    except ValueError as error:
        raise invalid("Issue", "invalid", "since") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
