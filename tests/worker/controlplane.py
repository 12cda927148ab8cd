"""The control plane's worker protocol over real HTTP, with the log in memory, and levers to make it misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from nightshift.models import (
    Control,
    ControlKind,
    Draft,
    GitHubToken,
    Grant,
    Item,
    ItemKind,
    ItemsPage,
    NewItem,
    NewReport,
    ReportKind,
    Reservation,
    WorkerConfig,
)

TOKEN = "worker-token-of-the-tests"
PAGE = 200


class ControlPlane:
    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.items: list[Item] = []
        self.controls: list[Control] = []
        self.reports: list[NewReport] = []
        self.drafts: list[Draft] = []
        self.draft_statuses: deque[int] = deque()
        """Answers to the next drafts instead of taking them. 0: none at all."""
        self.files: dict[str, bytes] = {}
        self.github_token = "github-token-of-the-tests"
        self.token_requests: list[str] = []
        self.statuses: deque[int] = deque()
        """Answers to the next writes instead of doing them."""
        self.reservations: list[Reservation] = []
        self.grant = Grant()
        self.no_money = ""
        """Given: what every reservation is refused with."""
        self.stale = False
        self.hold_before: Callable[[NewItem], bool] | None = None
        """An item that is neither stored nor answered until the plane is let go."""
        self.hold_after: Callable[[NewItem], bool] | None = None
        """An item that is stored but not answered."""
        self.held = asyncio.Event()
        self.let_go = asyncio.Event()
        self.refuses: Callable[[NewItem], bool] = lambda item: False
        """An item that is answered 422."""
        self.drop = False
        """What was held before it was stored is refused when it is let go."""
        self.polled_after = -1
        """The worker has read everything up to this seq."""
        self.polled_controls_after = -1
        self.duplicates = 0
        self.change = asyncio.Condition()
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as embedded.host has it
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        routes = [
            Route("/api/worker/session", self._session),
            Route("/api/worker/items", self._read),
            Route("/api/worker/items", self._append, methods=["POST"]),
            Route("/api/worker/reservations", self._reserve, methods=["POST"]),
            Route("/api/worker/reports", self._report, methods=["POST"]),
            Route("/api/worker/drafts", self._draft, methods=["POST"]),
            Route("/api/worker/files/{name}", self._file),
            Route("/api/worker/github-token", self._github_token, methods=["POST"]),
        ]
        self._server = _Server(
            uvicorn.Config(
                Starlette(routes=routes), log_level="error", lifespan="off", timeout_graceful_shutdown=1, ws="none"
            )
        )
        self._serving = asyncio.create_task(self._server.serve([listening]))

    async def stop(self) -> None:
        self.stale = True  # ends the long polls of workers that are no more
        await self.release(drop=True)
        assert self._server
        assert self._serving
        self._server.should_exit = True
        await self._serving

    # What a test does and asks.

    async def say(self, text: str, **fields: Any) -> int:
        return (await self._store(NewItem(kind=ItemKind.USER_MESSAGE, text=text, **fields))).seq

    async def interrupt(self) -> None:
        await self._control(kind=ControlKind.INTERRUPT, at_seq=len(self.items))

    async def budget(self, usd: float) -> None:
        """Returns when the worker knows of it."""
        await self._control(kind=ControlKind.BUDGET, budget_usd=usd)
        await self.until(lambda: self.polled_controls_after == len(self.controls))

    async def until(self, condition: Callable[[], Any], seconds: float = 30) -> None:
        async with asyncio.timeout(seconds), self.change:
            await self.change.wait_for(lambda: bool(condition()))

    async def release(self, *, drop: bool = False) -> None:
        self.hold_before = self.hold_after = None
        self.drop = drop
        self.let_go.set()
        async with self.change:
            self.change.notify_all()

    def of(self, kind: ItemKind) -> list[Item]:
        return [item for item in self.items if item.kind is kind]

    def finals(self) -> list[str]:
        return [item.text for item in self.items if item.final]

    def reported(self, kind: ReportKind) -> list[NewReport]:
        return [report for report in self.reports if report.kind is kind]

    async def answered(self, turn: int) -> NewReport:
        """The report that closes this turn."""

        def closing() -> list[NewReport]:
            ends = (ReportKind.COMPLETED, ReportKind.FAILED, ReportKind.INTERRUPTED)
            return [report for report in self.reports if report.kind in ends and report.turn == turn]

        await self.until(closing)
        return closing()[-1]

    # The protocol.

    async def _session(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse(self.config.model_dump(mode="json"))

    async def _read(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        after, control_after = int(request.query_params["after"]), int(request.query_params["control_after"])
        try:
            async with asyncio.timeout(float(request.query_params["wait"])), self.change:
                self.polled_after, self.polled_controls_after = after, control_after
                self.change.notify_all()
                await self.change.wait_for(
                    lambda: len(self.items) > after or len(self.controls) > control_after or self.stale
                )
        except TimeoutError:
            pass
        page = ItemsPage(
            items=self.items[after : after + PAGE], controls=self.controls[control_after:], last_seq=len(self.items)
        )
        return self._refused(request) or JSONResponse(page.model_dump(mode="json"))

    async def _append(self, request: Request) -> Response:
        if refused := self._refused(request, write=True):
            return refused
        new = [NewItem.model_validate(item) for item in (await request.json())["items"]]
        assert len(new) <= 50
        if await self._paused(self.hold_before, new) and self.drop:
            return _problem(503)
        if any(map(self.refuses, new)):
            return _problem(422)
        stored = [await self._store(item) for item in new]
        await self._paused(self.hold_after, new)
        return JSONResponse({"items": [{"id": item.id, "seq": item.seq} for item in stored]})

    async def _report(self, request: Request) -> Response:
        if refused := self._refused(request, write=True):
            return refused
        report = NewReport.model_validate(await request.json())
        async with self.change:
            if report.id not in [earlier.id for earlier in self.reports]:
                self.reports.append(report)
            self.change.notify_all()
        return Response(status_code=202)

    async def _draft(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        draft = Draft.model_validate(await request.json())
        if self.draft_statuses:
            if status := self.draft_statuses.popleft():
                return _problem(status)
            while (await request.receive())["type"] != "http.disconnect":
                pass
        async with self.change:
            self.drafts.append(draft)
            self.change.notify_all()
        return Response(status_code=204)

    async def _file(self, request: Request) -> Response:
        content = self.files.get(request.path_params["name"])
        return self._refused(request) or (_problem(404) if content is None else Response(content))

    async def _reserve(self, request: Request) -> Response:
        if refused := self._refused(request, write=True):
            return refused
        self.reservations.append(Reservation.model_validate(await request.json()))
        if self.no_money:
            return _problem(402, self.no_money)
        return JSONResponse(self.grant.model_dump(mode="json"))

    async def _github_token(self, request: Request) -> Response:
        if refused := self._refused(request, write=True):
            return refused
        self.token_requests.append((await request.json())["repository"])
        return JSONResponse(GitHubToken(token=self.github_token).model_dump(mode="json"))

    async def _control(self, **fields: Any) -> None:
        async with self.change:
            self.controls.append(Control(seq=len(self.controls) + 1, created_at=datetime.now(UTC), **fields))
            self.change.notify_all()

    async def _store(self, new: NewItem) -> Item:
        async with self.change:
            if earlier := [item for item in self.items if item.id == new.id]:
                self.duplicates += 1
                return earlier[0]
            item = Item(**new.model_dump(), seq=len(self.items) + 1, created_at=datetime.now(UTC))
            self.items.append(item)
            self.change.notify_all()
            return item

    async def _paused(self, hold: Callable[[NewItem], bool] | None, new: list[NewItem]) -> bool:
        if not (hold and any(map(hold, new))):
            return False
        self.held.set()
        await self.let_go.wait()
        return True

    def _refused(self, request: Request, *, write: bool = False) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _problem(401)
        if self.stale:
            return _problem(409)
        if write and self.statuses:
            return _problem(self.statuses.popleft())
        return None


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _problem(status: int, detail: str = "as told") -> Response:
    body = {"title": "Stale generation" if status == 409 else "A problem", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
