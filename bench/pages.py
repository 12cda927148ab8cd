"""What the pages cost: server time and bytes of a long chat, of the list and its filters, and the scripts' size."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import time
from datetime import timedelta
from pathlib import Path
from statistics import median

from httpx import ASGITransport, AsyncClient

from api.app import create_api
from api.pages.assets import assets
from bench.talk import talk
from nightshift.log import utc_now
from nightshift.models import Phase, Session, SessionRequest
from nightshift.services import Services, build
from nightshift.settings import Settings

ITEMS, SESSIONS, TIMES = 2_000, 10_000, 9
MODULE = re.compile(r'"modulepreload" href="/static/\w+/([^"]+)"')


async def figures(folder: Path) -> list[tuple[str, float, str, str]]:
    """(name, value, unit, target)"""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    services = build(Settings(data_dir=folder / "pages", signing_key="x" * 32, local=True))
    try:
        await _fill(services)
        talk(folder / "pages" / "nightshift.db", "s-0", ITEMS)
        transport = ASGITransport(create_api(lambda: services))
        async with AsyncClient(transport=transport, base_url="http://localhost") as client:
            rows: list[tuple[str, float, str, str]] = []
            for name, path, target in (
                (f"a chat of {ITEMS:,} items", "/sessions/s-0", "< 300"),
                ("  200 older ones", "/sessions/s-0/fragment?before=1000", ""),
                ("  what is new", f"/sessions/s-0/fragment?after={ITEMS - 1}", ""),
                (f"list of {SESSIONS:,} sessions", "/sessions", "< 300"),
                ("  in one phase", "/sessions?phase=failed", ""),
                ("  by cost", "/sessions?order=cost", ""),
                ("  by title, in one phase", "/sessions?order=title&phase=failed", ""),
                ("  text that a few have", "/sessions?q=task+77", ""),
                ("  text that none has", "/sessions?q=nowhere", ""),
            ):
                seconds, size = await _measure(client, path)
                rows.append((name, 1000 * seconds, "ms", target))
                if target:
                    rows.append(("  transferred", size / 1000, "kB", "< 200"))
            for page, path in (("chat", "/sessions/s-0"), ("list", "/sessions"), ("settings", "/settings")):
                scripts = [assets()[name].content for name in MODULE.findall((await client.get(path)).text)]
                rows.append((f"scripts of the {page}", sum(map(len, scripts)) / 1000, "kB", "< 40"))
                rows.append(("  transferred", sum(len(gzip.compress(each, 5)) for each in scripts) / 1000, "kB", ""))
            return rows
    finally:
        await services.store.close()


async def _measure(client: AsyncClient, path: str) -> tuple[float, int]:
    """(median seconds, bytes on the wire)"""
    times: list[float] = []
    size = 0
    for _ in range(TIMES):
        begun = time.perf_counter()
        answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
        times.append(time.perf_counter() - begun)
        answer.raise_for_status()
        size = int(answer.headers["Content-Length"])
    return median(times), size


async def _fill(services: Services) -> None:
    log, now = services.log, utc_now()
    for number in range(SESSIONS):
        request = SessionRequest(message=f"Do task {number} of many", repository=f"acme/repository-{number % 40}")
        time = now - timedelta(minutes=number)
        phase = Phase.FAILED if number % 50 == 7 else Phase.STOPPED
        session = Session(
            id=f"s-{number}", owner="local", request=request, phase=phase, created_at=time, updated_at=time
        )
        await log.create_session(session)


def pages(folder: Path) -> None:
    print(f"\n{'':42}{'pages':>11}{'':4}target")
    for name, value, unit, target in asyncio.run(figures(folder)):
        print(f"{name:<42}{value:11.1f} {unit:<3} {target}".rstrip(), flush=True)
