"""The documented API as the command line uses it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from cli.files import Attached
from nightshift.errors import NightshiftError
from nightshift.models import Approval, FileRef, ItemKind, ItemsPage

DEFAULT_URL = "http://127.0.0.1:7071"
PATIENCE = 120.0
"""Seconds that one call waits in all when the server asks for it."""
_CUTS = 3
"""How often the connection may break before a call is given up."""


class ApiError(NightshiftError):
    """The server said no; the message is its own."""


class Client:
    """One server. Raises ApiError with the server's words, or what to do if it cannot be reached."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`tell` is given what a person who waits should know."""
        self._sleep = sleep
        self._tell = tell
        self.url = (url or os.environ.get("NIGHTSHIFT_URL") or DEFAULT_URL).rstrip("/")
        key = key or os.environ.get("NIGHTSHIFT_API_KEY")
        headers = {"X-API-Key": key} if key else {}
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=40)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.aclose()

    async def start(
        self,
        message: str,
        repository: str | None,
        model: str | None,
        plan: bool = False,
        agent: str | None = None,
        files: Sequence[Attached] = (),
    ) -> dict[str, Any]:
        """The session begins when the last of its files is there."""
        body = {
            "message": message,
            "repository": repository,
            "model": model,
            "plan": plan or None,
            "agent": agent,
            "files": _named(files),
        }
        started = await self._call("POST", "/api/sessions", {k: v for k, v in body.items() if v is not None})
        await self._upload(started["id"], [file for file in files if file.ref.name in started["awaited_files"]])
        return started

    async def agent_id(self, wanted: str) -> str:
        """Of the agent with this name or id; one's own before the team's."""
        agents: list[dict[str, Any]] = (await self._call("GET", "/api/agents"))["agents"]
        for agent in agents:
            if wanted in (agent["id"], agent["name"]):
                return str(agent["id"])
        names = ", ".join(agent["name"] for agent in agents) or "none"
        raise ApiError(f"There is no agent {wanted!r}. There are: {names}")

    async def sessions(self, limit: int) -> list[dict[str, Any]]:
        page = await self._call("GET", f"/api/sessions?limit={limit}")
        sessions: list[dict[str, Any]] = page["sessions"]
        return sessions

    async def session(self, id: str) -> dict[str, Any]:
        return await self._call("GET", f"/api/sessions/{id}")

    async def items(self, id: str, after: int, wait: float = 0) -> ItemsPage:
        return ItemsPage.model_validate(
            await self._call("GET", f"/api/sessions/{id}/items?after={after}&wait={wait:g}")
        )

    async def send(
        self,
        id: str,
        text: str,
        plan: bool | None = None,
        approves: str | None = None,
        files: Sequence[Attached] = (),
    ) -> dict[str, Any]:
        await self._upload(id, files)
        body = {"text": text, "plan": plan, "approves": approves, "files": _named(files)}
        return await self._call(
            "POST", f"/api/sessions/{id}/messages", {k: v for k, v in body.items() if v is not None}
        )

    async def awaited(self, id: str) -> tuple[str, Approval] | None:
        """(the tool call, what it asked for) that the session waits for a yes to."""
        calls: dict[str | None, str] = {}
        found, after = None, 0
        while items := (await self.items(id, after)).items:
            for item in items:
                if item.kind is ItemKind.TOOL_CALL:
                    calls[item.call_id] = item.id
                elif item.kind is ItemKind.USER_MESSAGE:
                    found = None
                elif item.effect and item.effect.approval and item.call_id in calls:
                    found = calls[item.call_id], item.effect.approval
            after = items[-1].seq
        return found

    async def file(self, id: str, file: FileRef) -> bytes:
        content = (await self._answer("GET", f"/api/sessions/{id}/files/{file.name}")).content
        if hashlib.sha256(content).hexdigest() != file.name:
            raise ApiError(f"{file.filename} arrived damaged; try again")
        return content

    async def control(self, id: str, kind: str) -> None:
        """`interrupt`, `stop` or `resume`."""
        await self._call("POST", f"/api/sessions/{id}/{kind}")

    async def delete(self, id: str) -> None:
        await self._call("DELETE", f"/api/sessions/{id}")

    async def _upload(self, id: str, files: Sequence[Attached]) -> None:
        for file in files:
            path = f"/api/sessions/{id}/files?filename={quote(file.ref.filename, safe='')}"
            await self._answer("PUT", path, content=file.content, headers={"Content-Type": file.ref.content_type})

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        # One key for all tries of one call: a repeat after a cut connection is the same request.
        headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}
        answer = await self._answer(method, path, json=body, headers=headers)
        return dict(answer.json()) if answer.content else {}

    async def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        cuts, waited = 0, 0.0
        while True:
            try:
                answer = await self._http.request(method, path, **request)
            except httpx.TransportError as error:
                cuts += 1
                if cuts == _CUTS or isinstance(error, httpx.ConnectError):
                    advice = "Is it running? `nightshift up` starts it; NIGHTSHIFT_URL says where it is."
                    raise ApiError(f"{self.url} cannot be reached ({type(error).__name__}). {advice}") from error
                continue
            pause = _pause(answer)
            if pause is None or waited + pause > PATIENCE:
                break
            waited += pause
            self._tell(f"{_words(answer)} Waiting {pause:g} s.")
            await self._sleep(pause)
        if answer.is_error:
            raise ApiError(_words(answer))
        return answer


def _named(files: Sequence[Attached]) -> list[dict[str, Any]]:
    return [file.ref.model_dump() for file in files]


def _pause(answer: httpx.Response) -> float | None:
    """Seconds after which the server wants to be asked again; None: now is as good as then."""
    after = answer.headers.get("Retry-After", "")
    return float(after) if answer.status_code in (429, 503) and after.isdecimal() else None


def _words(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        return f"{answer.status_code} {problem['title']}: {problem.get('detail', '')}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}: {answer.text[:300]}"
