"""What the pages cost the one who looks: a long chat scrolled from its end to its beginning, and the way of an item
from the log to the page. The host is a process of its own, the browser a real one. `python -m bench.browser` prints
this alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from httpx import AsyncClient
from playwright.async_api import async_playwright

from bench.talk import talk
from nightshift.log import utc_now
from nightshift.models import Phase, Session, SessionRequest
from nightshift.services import build
from nightshift.settings import Settings
from nightshift.tokens import WorkerIdentity, issue

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ITEMS, LIVE = 20_000, 60
TRACED = 3_000
"""Items of which each task is noted: more would fill the browser's memory with notes."""
KEY = "x" * 32

type Row = tuple[str, float, str, str]
"""Name, value, unit, target."""

WATCH = """() => {
  const seen = window.seen = { frames: [], most: 0 };
  let before = performance.now();
  requestAnimationFrame(function frame(now) {
    seen.frames.push(now - before);
    before = now;
    if (seen.frames.length % 20 === 0) seen.most = Math.max(seen.most, document.getElementsByTagName('*').length);
    requestAnimationFrame(frame);
  });
}"""
NOTE = """() => {
  const came = window.came = {};
  new MutationObserver(() => {
    const row = document.querySelector('#log > :last-child');
    came[row.dataset.id] ??= (performance.timeOrigin + performance.now()) / 1000;
  }).observe(document.getElementById('log'), { childList: true });
}"""


async def figures(folder: Path) -> list[Row]:
    await _prepare(folder)
    async with _host(folder) as url, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        found: list[Row] = []
        for measure in (_live, _scroll):
            page = await browser.new_page(viewport={"width": 1280, "height": 800})
            found += await measure(page, url)
            await page.close()
        return found


async def _prepare(folder: Path) -> None:
    """Two sessions that sleep: nothing is done for them meanwhile."""
    services = build(Settings(data_dir=folder, signing_key=KEY, local=True))
    try:
        for id in ("s-long", "s-live"):
            now, request = utc_now(), SessionRequest(message="Count")
            session = Session(id=id, owner="local", request=request, created_at=now, updated_at=now)
            await services.log.create_session(session)
            await services.log.project(id, 1, {"phase": Phase.STOPPED, "stage": "", "generation": 1})
    finally:
        await services.close()
    talk(folder / "nightshift.db", "s-long", ITEMS)
    talk(folder / "nightshift.db", "s-live", 40)


@asynccontextmanager
async def _host(folder: Path) -> AsyncGenerator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    environment = {name: os.environ[name] for name in names if name in os.environ} | {"NIGHTSHIFT_SIGNING_KEY": KEY}
    command = [sys.executable, "-m", "cli", "up", "--port", str(port), "--data", str(folder)]
    host = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert host.stdout
        assert b"Nightshift is on" in await host.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        host.terminate()
        await host.communicate()


async def _scroll(page: Any, url: str) -> list[Row]:
    """With the wheel, as fast as the page takes it. What the page's thread works is told in CPU time, which does not
    depend on the machine's other work; frames are told by the clock."""
    await page.goto(f"{url}/sessions/s-long")
    await page.evaluate(WATCH)
    await page.mouse.move(600, 400)
    await page.context.browser.start_tracing(page=page, categories=["toplevel"])
    begun = time.monotonic()
    await _upwards(page, ITEMS - TRACED)
    tasks = _tasks(json.loads(await page.context.browser.stop_tracing())["traceEvents"])
    await _upwards(page, 1)
    seconds = time.monotonic() - begun
    seen = await page.evaluate("seen")
    tools = await page.context.new_cdp_session(page)
    await tools.send("HeapProfiler.collectGarbage")
    heap = (await tools.send("Runtime.getHeapUsage"))["usedSize"]
    frames = seen["frames"]
    return [
        (f"{ITEMS:,} items, scrolled to the first", seconds, "s", ""),
        ("  longest task, CPU", tasks[-1], "ms", "< 50"),
        ("  the page's work for 200 items, CPU", sum(tasks) * 200 / TRACED, "ms", ""),
        ("  frames over 50 ms", 100 * sum(each > 50 for each in frames) / len(frames), "%", ""),
        ("  elements, at most", seen["most"], "", "< 20,000"),
        ("  JavaScript's memory, at the end", heap / 1e6, "MB", "< 20"),
    ]


async def _upwards(page: Any, seq: int) -> None:
    while await page.evaluate("Number(document.querySelector('#log .item').dataset.seq)") > seq:
        await page.mouse.wheel(0, -1500)


def _tasks(events: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of CPU of each task of the page's main thread, the longest last."""
    main = {
        (each["pid"], each["tid"])
        for each in events
        if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    return sorted(
        each["tdur"] / 1000
        for each in events
        if each["name"].endswith("RunTask") and (each["pid"], each["tid"]) in main and "tdur" in each
    )


async def _live(page: Any, url: str) -> list[Row]:
    """One item at a time, as a worker appends it."""
    worker = {"Authorization": f"Bearer {issue(KEY, WorkerIdentity('s-live', 1), timedelta(hours=1))}"}
    async with page.expect_websocket(timeout=120_000):
        await page.goto(f"{url}/sessions/s-live")
    await page.evaluate(NOTE)
    asked: dict[str, float] = {}
    stored: dict[str, float] = {}
    async with AsyncClient(base_url=url, headers=worker) as http:
        for number in range(LIVE):
            id = f"live-{number}"
            item = {"id": id, "kind": "assistant_message", "text": f"Number **{number}**"}
            asked[id] = time.time()
            (await http.post("/api/worker/items", json={"items": [item]})).raise_for_status()
            stored[id] = time.time()
            await page.locator(f'[data-id="{id}"]').wait_for(timeout=20_000)
            await page.evaluate("() => new Promise(requestAnimationFrame)")
    came = await page.evaluate("came")
    after = sorted(1000 * (came[id] - stored[id]) for id in stored)
    since = sorted(1000 * (came[id] - asked[id]) for id in asked)
    return [
        ("an item's append answered, to the page, p50", median(after), "ms", "< 100"),
        ("  p95", quantiles(after, n=20)[-1], "ms", "< 100"),
        ("  from the append's request, p50", median(since), "ms", ""),
        ("  p95", quantiles(since, n=20)[-1], "ms", ""),
    ]


def show() -> None:
    print(f"\n{'':46}{'browser':>11}{'':4}target")
    if CHROMIUM is None:
        print("there is no chromium on PATH")
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name, value, unit, target in asyncio.run(figures(Path(folder))):
            print(f"{name:<46}{value:11.1f} {unit:<3} {target}".rstrip(), flush=True)


if __name__ == "__main__":
    show()
