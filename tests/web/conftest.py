"""The API and its pages on a real SQLite store; nobody's orchestration answers, so the tests write its part.

All tests of this folder share one event loop, so that they can share one browser.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from durabletask.history import HistoryEvent
from httpx import ASGITransport, AsyncClient
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from api.app import create_api
from api.doorbell import current_doorbell
from nightshift.log import utc_now
from nightshift.models import Item, ItemKind, NewItem, Session, SessionRequest
from nightshift.services import Services, build
from nightshift.settings import Settings

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
fixture = pytest_asyncio.fixture(loop_scope="session")

type NewSession = Callable[..., Awaitable[Session]]
type Say = Callable[..., Awaitable[Item]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class Silence:
    """A doorbell that wakes nobody."""

    async def start(self, session_id: str) -> None: ...

    async def ring(self, session_id: str, event: str) -> None: ...

    async def knows(self, session_id: str) -> bool:
        return False

    async def history(self, session_id: str) -> list[HistoryEvent]:
        return []

    def management_urls(self, session_id: str) -> dict[str, str]:
        return {}


@fixture
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


@fixture
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


@fixture
async def url(app: ASGIApp) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    playwright = pytest.importorskip(
        "playwright.async_api", reason="playwright is not installed: see requirements-dev.txt"
    )
    if CHROMIUM is None:
        pytest.skip("there is no chromium on PATH: apt-get install chromium")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


type Joined = asyncio.Queue[ServerConnection]


@fixture
async def channel(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Joined]:
    """A live channel of this test's own: the pages' connections, as they join. Named before `page`, it outlives it."""
    joined: Joined = asyncio.Queue()

    async def join(socket: ServerConnection) -> None:
        await socket.send('{"type": "system", "event": "connected"}')
        await joined.put(socket)
        await socket.wait_closed()

    async with serve(join, "localhost", 0, subprotocols=[Subprotocol("json.webpubsub.azure.v1")]) as hub:
        port = next(iter(hub.sockets)).getsockname()[1]

        async def page_url(session_id: str) -> str:
            return f"ws://localhost:{port}/"

        monkeypatch.setattr(services.live, "page_url", page_url)
        yield joined


def attend(page: Any) -> list[str]:
    """What the page's console complains of from now on: errors, and breaches of the content security policy."""
    complaints: list[str] = []

    def hear(message: Any) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def hear_error(error: Any) -> None:
        complaints.append(str(error))

    page.on("console", hear)
    page.on("pageerror", hear_error)
    return complaints


async def until(page: Any, expression: str) -> None:
    """Playwright's own wait_for_function needs eval, which the pages' policy forbids."""
    async with asyncio.timeout(10):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.03)


@asynccontextmanager
async def opened(browser: Any) -> AsyncGenerator[Any]:
    """A page whose console must stay silent; complaints that a test expects are taken out of `page.complaints`."""
    context = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(10_000)
    page.complaints = attend(page)
    try:
        yield page
    finally:
        await context.close()
    assert page.complaints == []


@fixture
async def page(browser: Any, url: str) -> AsyncIterator[Any]:
    """Closed before its server."""
    async with opened(browser) as page:
        yield page
