"""What the pages know of GitHub, asked of a server that answers as GitHub does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.pages.forge import Forge, PullState
from nightshift.github import OneToken
from nightshift.models import PullRequest
from tests.web.conftest import fixture


@dataclass
class GitHub:
    url: str = ""
    pull: dict[str, Any] = field(default_factory=lambda: {"state": "open", "head": {"sha": "abc"}})
    runs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    asked: list[str] = field(default_factory=list[str])

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if request.headers.get("Authorization") != "Bearer ghp_good":
            return JSONResponse({"message": "Bad credentials"}, 401)
        match request.url.path:
            case "/user/repos":
                return JSONResponse([{"full_name": "octo/demo"}, {"full_name": "octo/other"}])
            case "/repos/octo/demo/pulls/7":
                return JSONResponse(self.pull)
            case "/repos/octo/demo/commits/abc/check-runs":
                return JSONResponse({"total_count": len(self.runs), "check_runs": self.runs})
            case _:
                return JSONResponse({"message": "Not Found"}, 404)


@fixture
async def github() -> AsyncIterator[GitHub]:
    github = GitHub()
    app = Starlette(routes=[Route("/{path:path}", github.answer)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    github.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield github
    server.should_exit = True
    await serving


def pull(repository: str = "octo/demo") -> PullRequest:
    return PullRequest(
        repository=repository, number=7, url="https://github.com/octo/demo/pull/7", title="t", branch="b"
    )


def by_token(url: str, token: str = "ghp_good") -> Forge:
    return Forge(url, OneToken(token, url))


async def known(forge: Forge) -> PullState:
    async with asyncio.timeout(10):
        while not (found := await forge.pulls([pull()])):
            await asyncio.sleep(0.02)
    return found[pull().url]


def run(status: str, conclusion: str | None) -> dict[str, Any]:
    return {"status": status, "conclusion": conclusion}


@pytest.mark.parametrize(
    ("answer", "runs", "state"),
    [
        ({}, [], PullState("open", "none")),
        ({"draft": True}, [run("completed", "success"), run("completed", "skipped")], PullState("draft", "passing")),
        ({}, [run("completed", "success"), run("in_progress", None)], PullState("open", "running")),
        ({}, [run("completed", "failure"), run("queued", None)], PullState("open", "failing")),
        ({"state": "closed", "merged": True}, [run("completed", "success")], PullState("merged", "passing")),
        ({"state": "closed"}, [], PullState("closed", "none")),
    ],
)
async def test_how_a_pull_request_stands(
    github: GitHub, answer: dict[str, Any], runs: list[dict[str, Any]], state: PullState
) -> None:
    github.pull |= answer
    github.runs = runs
    forge = by_token(github.url)
    assert await known(forge) == state
    before = len(github.asked)
    assert await known(forge) == state
    assert len(github.asked) == before, "an answer is kept for a while"


async def test_repositories_are_those_that_the_token_may_see(github: GitHub) -> None:
    assert await by_token(github.url).repositories() == ["octo/demo", "octo/other"]
    assert await by_token(github.url, "").repositories() == []


async def test_a_server_that_refuses_or_is_away_takes_nothing_with_it(github: GitHub) -> None:
    for url, token in ((github.url, "ghp_bad"), ("http://127.0.0.1:9", "ghp_good")):
        forge = by_token(url, token)
        assert await forge.repositories() == []
        assert await forge.pulls([pull()]) == {}


@pytest.mark.parametrize("repository", ["../../user", "octo/..", "octo/demo/pulls", "octo/demo?x=", "octo\n/demo", ""])
async def test_a_made_up_repository_is_not_asked_for(github: GitHub, repository: str) -> None:
    assert await by_token(github.url).pulls([pull(repository)]) == {}
    assert github.asked == []
