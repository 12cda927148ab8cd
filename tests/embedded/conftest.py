"""A real host on a free port for every test that asks for one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from embedded.host import PUBSUB, Host

APPS = Path(__file__).parent / "apps"

Serve = Callable[..., Awaitable[httpx.AsyncClient]]


def pytest_itemcollected(item: pytest.Item) -> None:
    # The installed Durable library decodes activity inputs in the way that it advises against.
    item.add_marker(pytest.mark.filterwarnings("ignore:azure.functions :DeprecationWarning"))


@pytest_asyncio.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """`await serve("web")` starts a host for tests/embedded/apps/web and returns a client of it."""
    monkeypatch.delenv(PUBSUB, raising=False)
    async with AsyncExitStack() as stack:

        async def start(app: str | Path, **options: Any) -> httpx.AsyncClient:
            host = Host(APPS / app, options.pop("host", "127.0.0.1"), 0, **options)
            await host.start()
            stack.push_async_callback(host.stop)
            return await stack.enter_async_context(httpx.AsyncClient(base_url=host.url, timeout=20))

        yield start


@pytest.fixture
def write_app(tmp_path: Path) -> Callable[..., Path]:
    """Write files into a new app folder: `write_app(function_app="...", host_json="{}")`."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            suffix = ".json" if name.endswith("_json") else ".py"
            path = tmp_path / (name.removesuffix("_json").replace("_settings", ".settings") + suffix)
            path.write_text(text)
        return tmp_path

    return write
