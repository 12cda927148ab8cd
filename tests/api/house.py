"""The real API on a real store, with only the outermost edges replaced: task hub, machines, live channel."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from durabletask.history import HistoryEvent
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from api.doorbell import Doorbell, current_doorbell
from nightshift.keys import Scope as KeyScope
from nightshift.keys import create_key
from nightshift.models import Draft, MachineInfo, MachineSpec, MachineState, Phase, Power
from nightshift.services import Services
from nightshift.tokens import WorkerIdentity, issue

LOCAL = "http://127.0.0.1:7071"


@dataclass
class Bells:
    """A doorbell that remembers who was started and rung."""

    started: list[str] = field(default_factory=list[str])
    rung: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def start(self, session_id: str) -> None:
        self.started.append(session_id)

    async def ring(self, session_id: str, event: str) -> None:
        self.rung.append((session_id, event))

    async def knows(self, session_id: str) -> bool:
        return session_id in self.started

    async def history(self, session_id: str) -> list[HistoryEvent]:
        return []

    def management_urls(self, session_id: str) -> dict[str, str]:
        return {"statusQueryGetUri": f"http://hub/{session_id}?code=system-key"}


@dataclass
class Hints:
    """A live channel that remembers its hints and has no page URL, as `NoLive`."""

    given: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    drafts: list[tuple[str, Draft]] = field(default_factory=list[tuple[str, Draft]])

    async def hint(self, session_id: str, seq: int) -> None:
        self.given.append((session_id, seq))

    async def draft(self, session_id: str, draft: Draft) -> None:
        self.drafts.append((session_id, draft))

    async def page_url(self, session_id: str) -> str | None:
        return None

    async def close(self) -> None:
        return None


class NoMachines:
    """The API never touches a machine."""

    async def begin_start(self, spec: MachineSpec) -> None:
        raise AssertionError(spec.session_id)

    async def state(self, session_id: str) -> MachineState:
        return MachineState(power=Power.ABSENT)

    async def begin_deallocate(self, session_id: str) -> None:
        raise AssertionError(session_id)

    async def begin_delete(self, session_id: str) -> None:
        raise AssertionError(session_id)

    async def list_all(self) -> list[MachineInfo]:
        return []

    async def close(self) -> None:
        return None


def with_doorbell(app: ASGIApp, doorbell: Doorbell) -> ASGIApp:
    """What the HTTP function does for each invocation."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        token = current_doorbell.set(doorbell)
        try:
            await app(scope, receive, send)
        finally:
            current_doorbell.reset(token)

    return call


def client(app: ASGIApp, doorbell: Doorbell, base_url: str = LOCAL) -> httpx.AsyncClient:
    async def must_be_described(answer: httpx.Response) -> None:
        if isinstance(app, FastAPI) and (told := _described(app, answer.request)) is not None:
            assert str(answer.status_code) in told, f"{answer.request.method} {answer.url} answers {answer.status_code}"

    return httpx.AsyncClient(
        transport=httpx.ASGITransport(with_doorbell(app, doorbell)),
        base_url=base_url,
        event_hooks={"response": [must_be_described]},
    )


def _described(app: FastAPI, request: httpx.Request) -> set[str] | None:
    """The statuses that /openapi.json tells of this call; None for what is not in it."""
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), request.url.path):
            operation = operations.get(request.method.lower())
            return operation and set(operation["responses"])
    return None


@dataclass
class House:
    """One running API and what a test needs to look behind it."""

    services: Services
    app: ASGIApp
    bells: Bells
    hints: Hints
    http: httpx.AsyncClient
    database: Path

    async def begin(self, message: str = "Fix the bug", **request: Any) -> str:
        answer = await self.http.post("/api/sessions", json={"message": message, **request})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    async def start_machine(self, session_id: str, generation: int = 1) -> None:
        """What the orchestration writes when it starts the machine."""
        changes = {"generation": generation, "phase": Phase.WORKING}
        await self.services.log.project(session_id, generation, changes)

    def worker(self, session_id: str, generation: int = 1, lifetime: timedelta = timedelta(hours=1)) -> dict[str, str]:
        """Headers of this session's worker."""
        token = issue(self.services.settings.signing_key, WorkerIdentity(session_id, generation), lifetime)
        return {"Authorization": f"Bearer {token}"}

    async def key(self, owner: str, *scopes: KeyScope) -> dict[str, str]:
        """Headers of somebody with an API key."""
        _, text = await create_key(self.services.store, owner, scopes or (KeyScope.READ, KeyScope.WRITE))
        return {"Authorization": f"Bearer {text}"}

    def stored(self) -> list[tuple[str, str, str]]:
        """Every document as it is on disk, but keys and the audit log: to prove that a refused request left nothing."""
        with sqlite3.connect(self.database) as db:
            rows = db.execute(
                "SELECT pk, id, body FROM documents WHERE pk != 'keys' AND pk NOT LIKE 'audit-%' ORDER BY pk, id"
            ).fetchall()
        db.close()
        return rows
