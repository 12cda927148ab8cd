"""Searching issues and pull requests, by words and the most common qualifiers."""

import re

from starlette.responses import JSONResponse, Response

from demo.forge.errors import invalid
from demo.forge.rest.call import Call
from demo.forge.rest.issues import shape


async def issues(call: Call) -> Response:
    query = call.query("q")
    if not query.strip():
        raise invalid("Search", "missing", "q")
    wanted = dict(re.findall(r"(repo|is|state|type):(\S+)", query))
    words = re.sub(r"\S+:\S+", "", query).lower().replace('"', "").split()
    found = [
        it
        for it in reversed(call.state.records.issues)
        if call.viewer.reads(it.repository)
        and wanted.get("repo") in (None, it.repository)
        and wanted.get("state", it.state) == it.state
        and wanted.get("is", wanted.get("type")) in (None, it.state, "pr" if it.pull else "issue")
        and all(word in f"{it.title} {it.body}".lower() for word in words)
    ]
    part, headers = call.page(found)
    answer = {
        "total_count": len(found),
        "incomplete_results": False,
        "search_type": "lexical",
        "items": [{"body": "", **_some(shape(call, it)), "score": 1.0} for it in part],
    }
    return JSONResponse(answer, headers=headers)


def _some(shape: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in shape.items() if name != "body" or value is not None}
