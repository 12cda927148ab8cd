"""HTTP triggers: an ASGI app that finds the function for a request and calls it."""

import asyncio
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from embedded.auth import Keys
from embedded.invocation import Invoker
from embedded.loader import HttpFunction
from embedded.routes import Route, compile_route, decoded_path

logger = logging.getLogger(__name__)


class HttpTriggers:
    """Serves the app's HTTP functions under the route prefix; whatever matches none of them is 404."""

    def __init__(self, functions: Iterable[HttpFunction], prefix: str, invoker: Invoker, keys: Keys) -> None:
        self._invoker = invoker
        self._keys = keys
        self._under_way: set[asyncio.Task[Response]] = set()
        self._stopping = False
        routes = [(compile_route(f"{prefix}/{function.route}"), function) for function in functions]
        self._routes: list[tuple[Route, HttpFunction]] = sorted(routes, key=lambda entry: entry[0].rank)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # functions have no WebSockets
            await send({"type": "websocket.close"})
            return
        if self._stopping:
            await Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)(scope, receive, send)
            return
        task = asyncio.create_task(self._respond(Request(scope, receive)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        response = await task
        await response(scope, receive, send)

    async def drain(self, seconds: float) -> None:
        """Answer nothing new, give what is under way this long, and cut off the rest."""
        self._stopping = True
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=seconds)
            for task in late:
                task.cancel()

    async def _respond(self, request: Request) -> Response:
        path = decoded_path(request.scope["raw_path"])
        for route, function in self._routes:
            values = route.match(path)
            if values is None or (function.methods and request.method not in function.methods):
                continue
            if not self._keys.allows(request, function.auth_level):
                return Response(status_code=HTTPStatus.UNAUTHORIZED)
            return await self._invoke(function, request, values)
        return Response(status_code=HTTPStatus.NOT_FOUND)

    async def _invoke(self, function: HttpFunction, request: Request, route_values: dict[str, str]) -> Response:
        try:
            value = await _to_function_request(request, route_values)
            return _to_response(await self._invoker.invoke(function, value))
        except asyncio.CancelledError:
            # What outlasts the drain of a stop, such as a long poll; the client hears that it may ask again.
            logger.info("function %s was cut off by the stop", function.name)
            return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
        except Exception:
            logger.exception("function %s failed", function.name)
            return Response(status_code=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _to_function_request(request: Request, route_values: dict[str, str]) -> func.HttpRequest:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        separator = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    params = {name: ",".join(request.query_params.getlist(name)) for name in request.query_params}
    path, query = request.scope["raw_path"].decode("latin-1"), request.url.query
    url = f"{request.url.scheme}://{request.url.netloc}{path}{'?' if query else ''}{query}"
    body = await request.body()
    return func.HttpRequest(request.method, url, headers=headers, params=params, route_params=route_values, body=body)


def _to_response(result: Any) -> Response:
    if result is None:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    if isinstance(result, str):
        return Response(result, media_type="text/plain")
    if not isinstance(result, func.HttpResponse):
        raise TypeError(f"an HTTP function must return an HttpResponse or a str, not {type(result).__name__}")
    response = Response(result.get_body(), status_code=result.status_code)
    for name, value in result.headers.items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):  # the server's own
            response.headers.append(name, value)
    if "content-type" not in response.headers and result.mimetype:
        text = result.mimetype.startswith("text/")
        response.headers["content-type"] = f"{result.mimetype}; charset={result.charset}" if text else result.mimetype
    return response
