"""Comments on issues and on pull requests as a whole."""

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from demo.forge.records import Comment, now
from demo.forge.rest.call import Call
from demo.forge.shapes import conversation as shapes


class NewComment(BaseModel):
    body: str


async def listing(call: Call) -> Response:
    number = call.issue.number
    found = [it for it in call.state.records.comments if (it.repository, it.number) == (call.name, number)]
    return call.listing(found, lambda it: shapes.comment(call.links, it))


async def create(call: Call) -> Response:
    wish, issue = await call.body(NewComment), call.issue
    with call.state.change() as records:
        comment = Comment(
            id=records.new_id(),
            repository=call.name,
            number=issue.number,
            author=call.viewer.login,
            association=call.repository.association(call.viewer.login),
            body=wish.body,
        )
        records.comments.append(comment)
        issue.updated_at = now()
    shape = shapes.comment(call.links, comment)
    return JSONResponse(shape, 201, headers={"Location": shape["url"]})


async def one(call: Call) -> Response:
    return JSONResponse(shapes.comment(call.links, call.by_id(call.state.records.comments)))


async def update(call: Call) -> Response:
    wish = await call.body(NewComment)
    with call.state.change() as records:
        comment = call.by_id(records.comments)
        comment.body, comment.updated_at = wish.body, now()
    return JSONResponse(shapes.comment(call.links, comment))


async def delete(call: Call) -> Response:
    with call.state.change() as records:
        records.comments.remove(call.by_id(records.comments))
    return Response(status_code=204)
