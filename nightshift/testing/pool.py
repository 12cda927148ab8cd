"""A session pool of custom containers on this computer: management calls as documented, containers as processes.

Every request needs a token and, but for the list, an identifier. One that is not known is given a container, as Azure
does it, whatever the request is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from aiohttp import web

from nightshift.machines.containers import VERSION

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-the-pool"  # noqa: S105 - it opens nothing but this stand-in


@dataclass
class Session:
    process: asyncio.subprocess.Process
    url: str
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


class Pool:
    """`folder` holds a home for each container. `faults`: statuses that the next requests are answered with."""

    def __init__(self, folder: Path, most: int = 10, page: int = 300) -> None:
        self.sessions: dict[str, Session] = {}
        self.faults: list[int] = []
        self.url = ""
        self._folder = folder
        self._most = most
        self._page = page
        self._order = asyncio.Lock()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401, text="no token for this pool")
        if self.faults:
            return web.Response(status=self.faults.pop(0), headers={"Retry-After": "7"}, text="as was asked for")
        if request.path == "/.management/listSessions":
            return self._list(int(request.query.get("skip", 0)), request)
        identifier = request.query.get("identifier", "")
        if not 4 <= len(identifier) <= 128:
            return web.Response(status=400, text="identifier: 4 to 128 characters")
        if request.path.startswith("/.management/"):
            return await self._manage(request, identifier)
        async with self._order:
            session = self.sessions.get(identifier)
            if session is None or session.process.returncode is not None:
                if len(self.sessions) >= self._most:
                    return web.Response(status=404, text="no more sessions")
                session = self.sessions[identifier] = await self._allocate()
        async with httpx.AsyncClient() as client:
            body = await request.read()
            got = await client.request(request.method, session.url + request.path, content=body, timeout=30)
            return web.Response(status=got.status_code, body=got.content, content_type=got.headers["content-type"][:16])

    async def _manage(self, request: web.Request, identifier: str) -> web.Response:
        if request.method != "POST" or request.query.get("api-version") != VERSION:
            return web.Response(status=400, text="POST, with the api-version that has it")
        session = self.sessions.get(identifier)
        if session is None or session.process.returncode is not None:
            self.sessions.pop(identifier, None)  # a container that ended took its session along
            return web.Response(status=404, text="no such session")
        if request.path == "/.management/stopSession":
            await _end(self.sessions.pop(identifier))
            return web.Response(text=f"Session {identifier} stopped.")
        return web.json_response(_view(identifier, session))

    def _list(self, skip: int, request: web.Request) -> web.Response:
        alive = [(name, each) for name, each in sorted(self.sessions.items()) if each.process.returncode is None]
        page = [_view(name, each) for name, each in alive[skip : skip + self._page]]
        more = skip + self._page < len(alive)
        following = f"{self.url}{request.path}?skip={skip + self._page}&api-version={VERSION}" if more else None
        return web.json_response({"value": page, "count": len(page), "nextLink": following})

    async def _allocate(self) -> Session:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        home = self._folder / str(port)
        home.mkdir(parents=True)
        with (home / "console.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker.container", "--port", str(port)),
                cwd=home,
                env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        session = Session(process, f"http://127.0.0.1:{port}")
        async with httpx.AsyncClient() as client:
            while process.returncode is None:
                try:
                    await client.get(f"{session.url}/ping")
                    return session
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise RuntimeError(f"the container ended: {(home / 'console.log').read_text()}")


@asynccontextmanager
async def running(folder: Path, most: int = 10, page: int = 300) -> AsyncGenerator[Pool]:
    """A pool that serves, and afterwards none of its containers."""
    pool = Pool(folder, most, page)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pool._answer)  # pyright: ignore[reportPrivateUsage]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pool.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield pool
    finally:
        for session in pool.sessions.values():
            await _end(session)
        await runner.cleanup()


def _view(identifier: str, session: Session) -> dict[str, str]:
    created = session.created.isoformat().replace("+00:00", "Z")
    expires = (session.created + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    return {"identifier": identifier, "etag": "e", "createdAt": created, "expiresAt": expires}


async def _end(session: Session) -> None:
    if session.process.returncode is None:
        session.process.terminate()
    await session.process.wait()
