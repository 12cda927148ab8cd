"""HTTP endpoints by ASP.NET's route templates, and those of HTTP triggers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Any, override

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from embedded.auth import Keys
from embedded.invocation import Invoker
from embedded.loader import Function
from embedded.routes import Template

logger = logging.getLogger(__name__)


Answer = Callable[[Request], Awaitable[Response]]  # finds the route's values in the request's `path_params`


class Endpoint(BaseRoute):
    def __init__(self, template: str, methods: Collection[str], answer: Answer) -> None:
        self.template = Template(template)
        self._methods = methods  # none: every method
        self._answer = answer

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or (self._methods and scope["method"] not in self._methods):
            return Match.NONE, {}
        values = self.template.match(scope["raw_path"])
        return (Match.NONE, {}) if values is None else (Match.FULL, {"path_params": values})

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(Request(scope, receive))
        except asyncio.CancelledError:
            response = Response(status_code=503)  # it outlasted the drain of a stop, as a long poll may: ask again
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["raw_path"].decode("latin-1"))
            response = Response(status_code=500)
        await response(scope, receive, send)


def function_endpoints(functions: Iterable[Function], invoker: Invoker, keys: Keys) -> list[Endpoint]:
    async def answer(function: Function, request: Request) -> Response:
        if not keys.allows(request, str(function.trigger.auth_level or "function").lower()):
            return Response(status_code=401)
        return _to_response(await invoker.invoke(function, await _to_function_request(request)))

    http = (function for function in functions if function.kind == "http")
    return [Endpoint(function.target, function.methods, partial(answer, function)) for function in http]


def query_parameters(request: Request) -> dict[str, str]:
    """As the Functions host gives them: the values of one name are joined."""
    return {name: ",".join(request.query_params.getlist(name)) for name in request.query_params}


async def _to_function_request(request: Request) -> func.HttpRequest:
    headers = {name: ", ".join(request.headers.getlist(name)) for name in request.headers}
    path, query = request.scope["raw_path"].decode("latin-1"), request.url.query
    url = f"{request.url.scheme}://{request.url.netloc}{path}{'?' if query else ''}{query}"
    params, values, body = query_parameters(request), request.path_params, await request.body()
    return func.HttpRequest(request.method, url, headers=headers, params=params, route_params=values, body=body)


def _to_response(result: Any) -> Response:
    if result is None:
        return Response(status_code=204)
    if isinstance(result, str):
        return Response(result, media_type="text/plain")
    if not isinstance(result, func.HttpResponse):
        raise TypeError(f"an HTTP function must return an HttpResponse or a str, not {type(result).__name__}")
    kind = f"{result.mimetype}; charset={result.charset}" if result.mimetype.startswith("text/") else result.mimetype
    kind = None if "content-type" in result.headers else kind
    response = Response(result.get_body(), status_code=result.status_code, media_type=kind)
    for name, value in result.headers.items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):  # the server's own
            response.headers.append(name, value)
    return response
