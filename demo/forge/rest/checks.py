"""Check runs and commit statuses."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from demo.forge.records import CheckRun, Status, now
from demo.forge.rest.call import Call
from demo.forge.shapes import conversation as shapes
from demo.forge.shapes.repositories import repository

Conclusion = Literal["action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"]


class Output(BaseModel):
    title: str
    summary: str
    text: str | None = None


class CheckChange(BaseModel):
    status: Literal["queued", "in_progress", "completed"] | None = None
    conclusion: Conclusion | None = None
    details_url: str | None = None
    external_id: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    output: Output | None = None


class NewCheck(CheckChange):
    name: str
    head_sha: str


class NewStatus(BaseModel):
    state: Literal["error", "failure", "pending", "success"]
    context: str = "default"
    description: str | None = None
    target_url: str | None = None


async def create(call: Call) -> Response:
    wish = await call.body(NewCheck)
    sha = await call.commit_sha(wish.head_sha)
    with call.state.change() as records:
        run = CheckRun(id=records.new_id(), repository=call.name, head_sha=sha, name=wish.name, started_at=now())
        _apply(run, wish)
        records.check_runs.append(run)
    return JSONResponse(shapes.check_run(call.links, run), 201)


async def one(call: Call) -> Response:
    return JSONResponse(shapes.check_run(call.links, call.by_id(call.state.records.check_runs)))


async def update(call: Call) -> Response:
    wish = await call.body(CheckChange)
    with call.state.change() as records:
        run = call.by_id(records.check_runs)
        _apply(run, wish)
    return JSONResponse(shapes.check_run(call.links, run))


async def of_commit(call: Call) -> Response:
    sha = await call.commit_sha(call.path("ref"))
    runs = [it for it in call.state.records.check_runs if (it.repository, it.head_sha) == (call.name, sha)]
    runs = [it for it in runs if call.query("check_name") in ("", it.name) and call.query("status") in ("", it.status)]
    part, headers = call.page(runs)
    answer = {"total_count": len(runs), "check_runs": [shapes.check_run(call.links, it) for it in part]}
    return JSONResponse(answer, headers=headers)


async def create_status(call: Call) -> Response:
    wish = await call.body(NewStatus)
    sha = await call.commit_sha(call.path("ref"))
    with call.state.change() as records:
        status = Status(
            id=records.new_id(), repository=call.name, sha=sha, creator=call.viewer.login, **wish.model_dump()
        )
        records.statuses.append(status)
    return JSONResponse(shapes.full_status(call.links, status), 201)


async def statuses(call: Call) -> Response:
    sha = await call.commit_sha(call.path("ref"))
    return call.listing(_of(call, sha), lambda it: shapes.full_status(call.links, it))


async def combined_status(call: Call) -> Response:
    sha = await call.commit_sha(call.path("ref"))
    home = repository(call.links, call.repository, call.state.records, call.viewer, brief=True)
    return JSONResponse(shapes.combined_status(call.links, home, sha, _of(call, sha)))


def _of(call: Call, sha: str) -> list[Status]:
    """Newest first."""
    return [it for it in reversed(call.state.records.statuses) if (it.repository, it.sha) == (call.name, sha)]


def _apply(run: CheckRun, wish: CheckChange) -> None:
    given = wish.model_fields_set - {"name", "head_sha", "output"}
    for name in given:
        setattr(run, name, getattr(wish, name))
    if wish.output:
        run.title, run.summary, run.text = wish.output.title, wish.output.summary, wish.output.text
    if wish.conclusion:  # as GitHub has it, a conclusion completes the run
        run.status, run.completed_at = "completed", wish.completed_at or now()
