"""Branches, refs, commits, files and comparisons: all read from git."""

import asyncio

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from demo.forge.errors import ApiError, not_found
from demo.forge.git import EMPTY_TREE, GitError, Ref
from demo.forge.rest.call import Call
from demo.forge.shapes import code as shapes

MAX_FILE = 100 << 20  # bytes, GitHub's own limit


class Reference(BaseModel):
    ref: str
    sha: str


async def branches(call: Call) -> Response:
    refs = await call.git.refs("refs/heads/")
    return call.listing(refs, lambda it: shapes.brief_branch(call.links, call.name, it))


async def branch(call: Call) -> Response:
    sha = await call.git.resolve(f"refs/heads/{call.path('branch')}")
    if sha is None:
        raise ApiError(404, "Branch not found")
    [tip] = await call.git.commits(sha, limit=1)
    return JSONResponse(shapes.branch(call.links, call.name, call.path("branch"), tip))


async def refs(call: Call) -> Response:
    """All of them, or those that begin with the path's last part (`heads/feature`)."""
    start = call.request.path_params.get("ref", "")
    found = await call.git.refs(f"refs/{start.removeprefix('refs/')}")
    return call.listing(found, lambda it: shapes.ref(call.links, call.name, it))


async def ref(call: Call) -> Response:
    return JSONResponse(shapes.ref(call.links, call.name, await _find(call)))


async def create_ref(call: Call) -> Response:
    call.must_push()
    wish = await call.body(Reference)
    if wish.ref.count("/") < 2 or not wish.ref.startswith("refs/"):
        raise ApiError(422, "Reference name must start with 'refs/' and have at least two slashes.")
    sha = await call.git.resolve(wish.sha)
    if sha is None:
        raise ApiError(422, "Object does not exist")
    try:
        await call.git.text("update-ref", wish.ref, sha, "0" * 40)
    except GitError as error:
        raise ApiError(422, "Reference already exists") from error
    await call.state.pushed(call.name)
    return JSONResponse(shapes.ref(call.links, call.name, Ref(wish.ref, "commit", sha)), 201)


async def delete_ref(call: Call) -> Response:
    call.must_push()
    try:
        found = await _find(call)
    except ApiError as error:
        raise ApiError(422, "Reference does not exist") from error
    if found.name == f"refs/heads/{call.repository.default_branch}":
        raise ApiError(422, "Cannot delete the default branch")
    await call.git.text("update-ref", "-d", found.name, found.sha)
    await call.state.pushed(call.name)
    return Response(status_code=204)


async def commits(call: Call) -> Response:
    revision = call.query("sha") or call.repository.default_branch
    sha = await call.git.resolve(revision)
    if sha is None:
        raise not_found()
    found = await call.git.commits(sha, path=call.query("path") or None)
    return call.listing(found, lambda it: shapes.commit(call.links, call.name, it))


async def commit(call: Call) -> Response:
    sha = await call.commit_sha(call.path("ref"))
    [it] = await call.git.commits(sha, limit=1)
    changes = await call.git.changes(it.parents[0] if it.parents else EMPTY_TREE, sha)
    return JSONResponse(shapes.full_commit(call.links, call.name, it, changes))


async def contents(call: Call) -> Response:
    path = call.request.path_params.get("path", "").strip("/")
    revision = call.query("ref") or call.repository.default_branch
    sha = await call.git.resolve(revision)
    if sha is None:
        raise ApiError(404, f"No commit found for the ref {revision}")
    found = await call.git.entries(sha, path)
    if not found:
        raise not_found()
    if path and found[0].kind == "blob":
        if found[0].size > MAX_FILE:
            raise ApiError(403, "This file is too large to be read through the API")
        data = await call.git.blob(found[0].sha)
        return JSONResponse(shapes.content(call.links, call.name, revision, found[0], data))
    inside = await call.git.entries(sha, f"{path}/") if path else found
    return JSONResponse([shapes.content(call.links, call.name, revision, it) for it in inside])


async def compare(call: Call) -> Response:
    base_name, dots, head_name = call.path("basehead").partition("...")
    base, head = await call.git.resolve(base_name), await call.git.resolve(head_name)
    if not dots or base is None or head is None:
        raise not_found()
    fork_point = await call.git.merge_base(base, head)
    if fork_point is None:
        raise ApiError(404, f"No common ancestor between {base_name} and {head_name}.")
    ahead, (ahead_by, behind_by), changes, [base_commit], [fork_commit] = await asyncio.gather(
        call.git.commits(head, f"^{base}"),
        call.git.ahead_behind(base, head),
        call.git.changes(fork_point, head),
        call.git.commits(base, limit=1),
        call.git.commits(fork_point, limit=1),
    )
    part, headers = call.page(ahead[::-1])
    basehead = call.path("basehead")
    shape = shapes.comparison(call.links, call.name, basehead, base_commit, fork_commit, ahead_by, behind_by)
    shape["commits"] = [shapes.commit(call.links, call.name, it) for it in part]
    shape["files"] = [shapes.change(call.links, call.name, head, it) for it in changes]
    return JSONResponse(shape, headers=headers)


async def _find(call: Call) -> Ref:
    wanted = f"refs/{call.path('ref').removeprefix('refs/')}"
    for it in await call.git.refs(wanted):
        if it.name == wanted:
            return it
    raise not_found()
