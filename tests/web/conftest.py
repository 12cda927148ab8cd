"""The API and its pages on a real SQLite store; nobody's orchestration answers, so the tests write its part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_api
from api.doorbell import current_doorbell
from nightshift.log import utc_now
from nightshift.models import Item, ItemKind, NewItem, Session, SessionRequest
from nightshift.services import Services, build
from nightshift.settings import Settings

type NewSession = Callable[..., Awaitable[Session]]
type Say = Callable[..., Awaitable[Item]]


class Silence:
    """A doorbell that wakes nobody."""

    async def start(self, session_id: str) -> None: ...

    async def ring(self, session_id: str, event: str) -> None: ...

    async def knows(self, session_id: str) -> bool:
        return False

    def management_urls(self, session_id: str) -> dict[str, str]:
        return {}


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    built = build(Settings(data_dir=tmp_path, signing_key="x" * 32, local=True))
    yield built
    await built.close()


@pytest.fixture
def app(services: Services) -> ASGIApp:
    api = create_api(lambda: services)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        current_doorbell.set(Silence())
        await api(scope, receive, send)

    return serve


@pytest.fixture
async def client(app: ASGIApp) -> AsyncIterator[AsyncClient]:
    """A browser on this computer, as far as headers go."""
    headers = {"Accept": "text/html"}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost", headers=headers) as client:
        yield client


@pytest.fixture
def new_session(services: Services) -> NewSession:
    async def create(id: str = "s-1", message: str = "Do it", **changes: Any) -> Session:
        now = utc_now()
        request = SessionRequest(message=message, repository="octo/demo")
        session = Session(id=id, owner="local", request=request, created_at=now, updated_at=now)
        await services.log.create_session(session)
        return await services.log.project(id, 1, {"phase": "working", "stage": "agent at work"} | changes)

    return create


@pytest.fixture
def say(services: Services) -> Say:
    async def append(kind: ItemKind, text: str = "", session_id: str = "s-1", **fields: Any) -> Item:
        return await services.log.append_item(session_id, NewItem(kind=kind, text=text, **fields))

    return append
