"""Every error as application/problem+json (RFC 9457): what was wrong, and what to do about it.

Errors on purpose (nightshift.errors) say so themselves. Anything else is told to the log in full and to the
caller only by a trace id.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nightshift.errors import NotFound, Retryable, TooLarge, TooManyRequests, Unauthorized, UserError
from nightshift.words import asked, fault, told

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER = 5
"""Seconds, where the fault itself names none."""
_MOST_ERRORS = 20
_log = logging.getLogger(__name__)


class FieldError(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457. `type` is stable and meant for programs; `detail` is meant for people, and in their language where
    the request names one of ours."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
    trace_id: str | None = None
    """Names this request in the server's log."""


def wants_page(request: Request) -> bool:
    """A browser that shows what it gets; neither a program nor a page's own JavaScript."""
    return "text/html" in request.headers.get("Accept", "")


def problem(request: Request, error: UserError, headers: Mapping[str, str] | None = None, **extra: Any) -> JSONResponse:
    language = asked(request.cookies, request.headers)
    detail = told(language, error) if language else str(error)
    type = f"urn:nightshift:{error.code}"
    body = Problem(type=type, title=error.title, status=error.status, detail=detail, **extra)
    sent = dict(headers or {}) | ({"Content-Language": language} if language else {})
    if isinstance(error, Unauthorized):
        sent["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyRequests):
        sent["Retry-After"] = str(error.retry_after)
    return JSONResponse(body.model_dump(exclude_none=True), error.status, sent, media_type=MEDIA_TYPE)


class PlainError(UserError):
    """One of HTTP's own, with HTTP's own words for it."""

    def __init__(self, status: int, detail: str, code: str = "", **values: object) -> None:
        self.status, self.title = status, HTTPStatus(status).phrase
        super().__init__(detail, code, **values)


class BodyTooLarge(HTTPException):
    """FastAPI lets an HTTPException through that comes out of reading the body, and no other error."""

    def __init__(self, error: TooLarge) -> None:
        super().__init__(error.status, str(error))
        self.error = error


def add_problem_handlers(app: FastAPI) -> None:
    app.exception_handler(UserError)(_user_error)
    app.exception_handler(Retryable)(_retryable)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http_error)


async def _user_error(request: Request, error: UserError) -> JSONResponse:
    return problem(request, error)


async def _retryable(request: Request, error: Retryable) -> JSONResponse:
    trace_id = _trace_id(request.scope)
    _log.warning("%s %s: passing fault, trace %s: %s", request.method, request.url.path, trace_id, error)
    after = math.ceil(error.retry_after or _RETRY_AFTER)
    detail = f"A service that Nightshift needs is not available; try again in {after} s"
    away = PlainError(503, detail, "try-again", seconds=after)
    return problem(request, away, {"Retry-After": str(after)}, trace_id=trace_id)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    found: Sequence[dict[str, Any]] = error.errors()
    if _is_unparsed_body(request, found):
        return problem(request, PlainError(415, "Send JSON with the header 'Content-Type: application/json'"))
    errors = [FieldError(field=_field(each["loc"]), message=_words(each)) for each in found[:_MOST_ERRORS]]
    detail = "; ".join(f"{each.field}: {each.message}" for each in errors[:3])
    if language := asked(request.cookies, request.headers):
        for each, which in zip(errors, found, strict=False):
            each.message = fault(language, each.field, which["type"], each.message, which.get("ctx", {}))
        detail = "; ".join(each.message for each in errors[:3])
    return problem(request, PlainError(422, detail, "invalid"), errors=errors)


async def _http_error(request: Request, error: HTTPException) -> Response:
    """The router's own: no such path, no such method, a body that cannot be read."""
    path = request.url.path
    match error:
        case BodyTooLarge():
            return problem(request, error.error)
        case HTTPException(status_code=404):
            absent = NotFound(f"There is nothing at {path}", "nothing-there", path=path)
            if wants_page(request) and not path.startswith("/api/"):
                from api.pages.route import error_page

                return error_page(request, absent)
            return problem(request, absent)
        case HTTPException(status_code=405):
            wrong = PlainError(405, f"{request.method} is not possible at {path}")
        case _:
            wrong = PlainError(error.status_code, error.detail)
    return problem(request, wrong, error.headers)


class UnexpectedErrors:
    """Turns what nobody foresaw into a 500.

    Starlette's own handler raises the error again after its answer, and the Functions host would then replace
    the answer by its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            trace_id = _trace_id(scope)
            _log.exception("%s %s failed, trace %s", scope["method"], scope["path"], trace_id)
            if started:
                raise
            detail = f"Something went wrong here, not in your request. The log has it as {trace_id}"
            unforeseen = PlainError(500, detail, trace_id=trace_id)
            await problem(Request(scope), unforeseen, trace_id=trace_id)(scope, receive, send)


def _trace_id(scope: Scope) -> str:
    """The Functions host's invocation id where there is one, so that its log and ours meet."""
    return str(scope.get("azure_functions.invocation_id") or uuid4())


def _is_unparsed_body(request: Request, found: Sequence[dict[str, Any]]) -> bool:
    """FastAPI hands a body that is not declared as JSON to the validator as bytes."""
    return any(tuple(each["loc"]) == ("body",) and isinstance(each.get("input"), bytes) for each in found)


def _field(location: Sequence[str | int]) -> str:
    """`body.items.0.id` is called `items.0.id`; the body as a whole stays `body`."""
    parts = [str(part) for part in location]
    return ".".join(parts[1:] or parts)[:200]  # a caller's own field name may be long


def _words(error: dict[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return f"not valid JSON: {error['ctx']['error']}"
    return str(error["msg"]).removeprefix("Value error, ")
