"""Reviews and the comments on a pull request's lines."""

import re
from typing import Literal

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from demo.forge.errors import ApiError, invalid
from demo.forge.records import Review, ReviewComment
from demo.forge.rest.call import Call
from demo.forge.rest.comments import NewComment
from demo.forge.rest.pulls import Sides, sides
from demo.forge.shapes import conversation as shapes

STATES: dict[str, Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED"]] = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
}


class LineComment(BaseModel):
    body: str
    path: str
    line: int | None = None


class NewLineComment(LineComment):
    commit_id: str | None = None


class NewReview(BaseModel):
    event: Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"] = "COMMENT"
    body: str = ""
    commit_id: str | None = None
    comments: list[LineComment] = []


async def listing(call: Call) -> Response:
    await sides(call, call.issue)
    found = [it for it in call.state.records.reviews if (it.repository, it.number) == (call.name, call.issue.number)]
    return call.listing(found, lambda it: shapes.review(call.links, it))


async def create(call: Call) -> Response:
    wish, it = await call.body(NewReview), await sides(call, call.issue)
    if wish.event != "COMMENT" and call.viewer.login == it.issue.author:
        raise ApiError(422, "Review Can not approve or request changes on your own pull request")
    hunks = [await _hunk(it, comment) for comment in wish.comments]
    with call.state.change() as records:
        review = Review(
            id=records.new_id(),
            repository=call.name,
            number=it.issue.number,
            author=call.viewer.login,
            association=call.repository.association(call.viewer.login),
            body=wish.body,
            state=STATES[wish.event],
            commit_sha=wish.commit_id or it.heads.head,
        )
        records.reviews.append(review)
    for comment, hunk in zip(wish.comments, hunks, strict=True):
        _add(call, it, comment, hunk, review.id)
    return JSONResponse(shapes.review(call.links, review))


async def comments(call: Call) -> Response:
    await sides(call, call.issue)
    everything = call.state.records.review_comments
    found = [it for it in everything if (it.repository, it.number) == (call.name, call.issue.number)]
    return call.listing(found, lambda it: shapes.review_comment(call.links, it))


async def comment(call: Call) -> Response:
    found = call.by_id(call.state.records.review_comments)
    return JSONResponse(shapes.review_comment(call.links, found))


async def create_comment(call: Call) -> Response:
    wish, it = await call.body(NewLineComment), await sides(call, call.issue)
    made = _add(call, it, wish, await _hunk(it, wish))
    return JSONResponse(shapes.review_comment(call.links, made), 201)


async def reply(call: Call) -> Response:
    wish, it = await call.body(NewComment), await sides(call, call.issue)
    first = call.by_id(call.state.records.review_comments)
    thread = first.in_reply_to or first.id
    answered = LineComment(body=wish.body, path=first.path, line=first.line)
    made = _add(call, it, answered, first.diff_hunk, in_reply_to=thread)
    return JSONResponse(shapes.review_comment(call.links, made), 201)


def _add(
    call: Call,
    it: Sides,
    wish: LineComment,
    hunk: str,
    review_id: int | None = None,
    in_reply_to: int | None = None,
) -> ReviewComment:
    with call.state.change() as records:
        made = ReviewComment(
            id=records.new_id(),
            repository=call.name,
            number=it.issue.number,
            author=call.viewer.login,
            association=call.repository.association(call.viewer.login),
            body=wish.body,
            commit_sha=it.heads.head,
            path=wish.path,
            line=wish.line,
            diff_hunk=hunk,
            review_id=review_id,
            in_reply_to=in_reply_to,
        )
        records.review_comments.append(made)
    return made


async def _hunk(it: Sides, wish: LineComment) -> str:
    """The part of the diff that leads to the line; a comment must be on a changed file."""
    base = await it.git.merge_base(it.heads.base, it.heads.head) or it.heads.base
    for change in await it.git.changes(base, it.heads.head):
        if change.path == wish.path:
            return _up_to(change.patch or "", wish.line)
    raise invalid("PullRequestReviewComment", "custom", "path", "path is not part of the diff")


def _up_to(patch: str, line: int | None) -> str:
    """From the hunk's header to `line` of the new file."""
    shown: list[str] = []
    at = 0
    for text in patch.splitlines():
        if header := re.match(r"@@ -\S+ \+(\d+)", text):
            shown, at = [text], int(header[1]) - 1
            continue
        shown.append(text)
        at += not text.startswith("-")
        if at == line:
            break
    return "\n".join(shown)
