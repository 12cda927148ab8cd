"""One admitted REST call: who calls, what about, and the answers' common form."""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from demo.forge.access import identify
from demo.forge.errors import ApiError, invalid, not_found
from demo.forge.git import Git
from demo.forge.records import Issue, Kept, Repository, Token
from demo.forge.shapes.links import Links
from demo.forge.state import State

MAX_PER_PAGE = 100


@dataclass(frozen=True)
class Call:
    request: Request
    state: State
    links: Links
    viewer: Token

    @classmethod
    def admit(cls, request: Request, state: State, links: Links) -> "Call":
        """Raises ApiError: 401 without a good token, 404 for what it may not see, 403 for what it may not change."""
        viewer = identify(state, request.headers)
        if viewer is None:
            given = "authorization" in request.headers
            raise ApiError(401, "Bad credentials" if given else "Requires authentication")
        call = cls(request, state, links, viewer)
        if "repo" in request.path_params:
            name = call.repository.full_name
            if call.repository.hidden:
                call.repository.hidden -= 1
                raise not_found()
            if request.method != "GET" and not viewer.writes(name):
                raise ApiError(403, "Resource not accessible by personal access token")
        return call

    @property
    def repository(self) -> Repository:
        full_name = f"{self.path('owner')}/{self.path('repo')}"
        repository = self.state.records.repositories.get(full_name)
        if repository is None or not self.viewer.reads(full_name):
            raise not_found()
        return repository

    def must_push(self) -> None:
        """Raises ApiError 403 for who may only read and talk."""
        if not self.repository.pushable(self.viewer):
            raise ApiError(403, "Resource not accessible by personal access token")

    @property
    def name(self) -> str:
        return self.repository.full_name

    @property
    def git(self) -> Git:
        return self.state.git(self.name)

    @property
    def issue(self) -> Issue:
        """The issue or pull request whose number is in the path."""
        number = self.request.path_params["number"]
        for issue in self.state.records.issues:
            if issue.repository == self.name and issue.number == number:
                return issue
        raise not_found()

    def path(self, parameter: str) -> str:
        return self.request.path_params[parameter]

    def query(self, parameter: str, default: str = "") -> str:
        return self.request.query_params.get(parameter, default)

    async def commit_sha(self, revision: str) -> str:
        sha = await self.git.resolve(revision)
        if sha is None:
            raise ApiError(422, f"No commit found for SHA: {revision}")
        return sha

    async def body[B: BaseModel](self, model: type[B]) -> B:
        content = await self.request.body()
        try:
            return model.model_validate(json.loads(content or b"{}"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ApiError(400, "Problems parsing JSON") from error
        except ValidationError as error:
            first = error.errors()[0]
            code = "missing_field" if first["type"] == "missing" else "invalid"
            raise invalid(model.__name__.removeprefix("New"), code, ".".join(map(str, first["loc"]))) from error

    def by_id[R: Kept](self, records: Iterable[R]) -> R:
        """The record of this repository whose id is in the path."""
        for record in records:
            if record.id == self.request.path_params["id"] and record.repository == self.name:
                return record
        raise not_found()

    def page[R](self, records: Sequence[R]) -> tuple[Sequence[R], dict[str, str]]:
        """The part that was asked for and the Link header that leads to the others."""
        size = max(1, min(self._number("per_page", 30), MAX_PER_PAGE))
        number, last = max(1, self._number("page", 1)), max(1, -(-len(records) // size))
        others = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
        if number >= last:
            del others["next"], others["last"]
        if number <= 1:
            del others["prev"], others["first"]
        url = self.request.url
        address = f"{self.links.html}{url.path}"
        links = [
            f'<{address}?{url.include_query_params(page=other).query}>; rel="{relation}"'
            for relation, other in others.items()
        ]
        return records[(number - 1) * size : number * size], {"Link": ", ".join(links)} if links else {}

    def listing[R](self, records: Sequence[R], shape: Callable[[R], Any]) -> Response:
        part, headers = self.page(records)
        return JSONResponse([shape(record) for record in part], headers=headers)

    def _number(self, parameter: str, default: int) -> int:
        given = self.query(parameter)
        return int(given) if given.isdecimal() else default


Handler = Callable[[Call], Awaitable[Response]]
