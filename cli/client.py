"""The documented API as the command line uses it."""

from __future__ import annotations

import os
from typing import Any, Self
from uuid import uuid4

import httpx

from nightshift.errors import NightshiftError
from nightshift.models import Approval, ItemKind, ItemsPage

DEFAULT_URL = "http://127.0.0.1:7071"


class ApiError(NightshiftError):
    """The server said no; the message is its own."""


class Client:
    """One server. Raises ApiError with the server's words, or what to do if it cannot be reached."""

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
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
    ) -> dict[str, Any]:
        body = {"message": message, "repository": repository, "model": model, "plan": plan or None, "agent": agent}
        return await self._call("POST", "/api/sessions", {k: v for k, v in body.items() if v is not None})

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

    async def send(self, id: str, text: str, plan: bool | None = None, approves: str | None = None) -> dict[str, Any]:
        body = {"text": text, "plan": plan, "approves": approves}
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

    async def control(self, id: str, kind: str) -> None:
        """`interrupt`, `stop` or `resume`."""
        await self._call("POST", f"/api/sessions/{id}/{kind}")

    async def delete(self, id: str) -> None:
        await self._call("DELETE", f"/api/sessions/{id}")

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        # One key for all tries of one call: a repeat after a cut connection is the same request.
        headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}
        for last in (False, False, True):
            try:
                answer = await self._http.request(method, path, json=body, headers=headers)
                break
            except httpx.TransportError as error:
                if last or isinstance(error, httpx.ConnectError):
                    advice = "Is it running? `nightshift up` starts it; NIGHTSHIFT_URL says where it is."
                    raise ApiError(f"{self.url} cannot be reached ({type(error).__name__}). {advice}") from error
        else:
            raise AssertionError("unreachable")
        if answer.is_error:
            raise ApiError(_words(answer))
        return dict(answer.json()) if answer.content else {}


def _words(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        return f"{answer.status_code} {problem['title']}: {problem.get('detail', '')}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}: {answer.text[:300]}"
