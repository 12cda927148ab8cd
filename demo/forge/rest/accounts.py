"""People, the rate limit, repositories and forks."""

import time

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from demo.forge.errors import ApiError, not_found
from demo.forge.records import Repository
from demo.forge.rest.call import Call
from demo.forge.shapes import repositories as shapes

LIMIT = 5000


class Fork(BaseModel):
    organization: str | None = None
    name: str | None = None


async def me(call: Call) -> Response:
    return JSONResponse(shapes.profile(call.links, call.viewer.login, call.state.records))


async def one(call: Call) -> Response:
    known = {it.owner for it in call.state.records.repositories.values()}
    known |= {it.login for it in call.state.records.tokens.values()}
    if call.path("login") not in known:
        raise not_found()
    return JSONResponse(shapes.profile(call.links, call.path("login"), call.state.records))


async def rate_limit(call: Call) -> Response:
    """Never reached: the forge counts nothing."""
    rate = {"limit": LIMIT, "remaining": LIMIT, "reset": int(time.time()) + 3600, "used": 0}
    return JSONResponse({"resources": {"core": rate, "search": rate}, "rate": rate})


async def my_repositories(call: Call) -> Response:
    return _repositories(call, [it for it in _readable(call) if call.viewer.reads(it.full_name)])


async def installed_repositories(call: Call) -> Response:
    if call.viewer.repositories is None:
        raise ApiError(403, "You must authenticate with an installation access token in order to list repositories")
    part, headers = call.page(_readable(call))
    shown = [shapes.repository(call.links, it, call.state.records, call.viewer, brief=True) for it in part]
    answer = {"total_count": len(_readable(call)), "repository_selection": "selected", "repositories": shown}
    return JSONResponse(answer, headers=headers)


async def repositories(call: Call) -> Response:
    return _repositories(call, [it for it in _readable(call) if it.owner == call.path("login")])


async def repository(call: Call) -> Response:
    return JSONResponse(shapes.repository(call.links, call.repository, call.state.records, call.viewer))


async def forks(call: Call) -> Response:
    return _repositories(call, [it for it in _readable(call) if it.fork_of == call.name])


async def fork(call: Call) -> Response:
    wish, origin = await call.body(Fork), call.repository
    full_name = f"{wish.organization or call.viewer.login}/{wish.name or origin.name}"
    known = call.state.records.repositories.get(full_name)
    if known is not None and known.fork_of != origin.full_name:
        raise ApiError(403, "A repository with this name exists already")
    made = known or await call.state.create_repository(full_name, fork_of=origin)
    if known is None:
        made.hidden = call.state.slow_forks
    return JSONResponse(shapes.repository(call.links, made, call.state.records, call.viewer), 202)


def _readable(call: Call) -> list[Repository]:
    return [it for it in call.state.records.repositories.values() if call.viewer.reads(it.full_name)]


def _repositories(call: Call, found: list[Repository]) -> Response:
    return call.listing(
        found, lambda it: shapes.repository(call.links, it, call.state.records, call.viewer, brief=True)
    )
