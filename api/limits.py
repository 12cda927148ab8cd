"""What holds for every request and answer: a size limit on bodies, and headers that keep answers private."""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import BodyTooLarge, problem
from nightshift.errors import TooLarge
from nightshift.models import MAX_FILE

MAX_BODY = 1 << 20
MAX_WORKER_BODY = 16 << 20
"""A worker sends up to 50 items at once, and a tool's output alone may be MAX_TEXT characters."""
_FILE = re.compile(r"/api/(sessions/[^/]+/files|worker/files/[^/]+)")


class BodyLimit:
    """Refuses a body that is too large before anything is parsed, by its declared and by its actual size."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, refusal = _limit(scope["path"])
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            await problem(Request(scope), refusal)(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise BodyTooLarge(refusal)
            return message

        await self._app(scope, counted, send)


def _limit(path: str) -> tuple[int, TooLarge]:
    """(bytes, what to say to more)"""
    if _FILE.fullmatch(path):
        most = MAX_FILE >> 20
        advice = "compress or split it, or put it where the agent can fetch it from"
        return MAX_FILE, TooLarge(f"A file may have {most} MB; {advice}", "file-too-large", megabytes=most)
    limit = MAX_WORKER_BODY if path.startswith("/api/worker/") else MAX_BODY
    return limit, TooLarge(f"The body is larger than {limit} bytes; send less")


class PrivateAnswers:
    """No guessing of content types; no cache keeps what the API said, unless it said so itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if scope["path"].startswith("/api/") and "Cache-Control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, marked)
