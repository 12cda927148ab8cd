"""What outlives the host with a hub file: orchestrations, their versions, and what timers are due."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedded.errors import StartError
from embedded.host import Host
from embedded.settings import HostSettings
from tests.embedded.conftest import APPS, Serve
from tests.embedded.test_embedded_durable import API, finished, start

VERSIONED = """
import azure.durable_functions as df
app = df.DFApp()

@app.orchestration_trigger(context_name="ctx")
def child(ctx, _):
    return ctx.version

@app.orchestration_trigger(context_name="ctx")
def parent(ctx, _):
    yield ctx.wait_for_external_event("go")
    return [ctx.version, (yield ctx.call_sub_orchestrator("child"))]
"""
TIMED = """
import asyncio
import azure.functions as func
app = func.FunctionApp(http_auth_level="ANONYMOUS")
calls, canary_sang = [], asyncio.Event()

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
async def yearly(timer):
    calls.append([timer.past_due, timer.schedule_status["Last"][:10]])
    if len(calls) > 1:
        await asyncio.Event().wait()

@app.timer_trigger(arg_name="timer", schedule="365.00:00:00")
async def failing(timer):
    calls.append("failing")
    raise RuntimeError("as it should")

@app.timer_trigger(arg_name="timer", schedule="0 0 0 2 1 *", use_monitor=False)
async def unwatched(timer):
    calls.append("unwatched")

@app.timer_trigger(arg_name="timer", schedule="0 0 0 3 1 *")
async def zcanary(timer):
    canary_sang.set()

@app.route("calls")
async def seen(req):
    await canary_sang.wait()
    return repr(calls)
"""
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def versions(folder: Path, **settings: str) -> None:
    (folder / "host.json").write_text(json.dumps({"extensions": {"durableTask": settings}}))


async def test_an_orchestration_goes_on_after_a_restart(serve: Serve, tmp_path: Path) -> None:
    hub = tmp_path / "new" / "hub.db"
    host = Host(APPS / "durable", port=0, hub=hub)
    await host.start()
    async with httpx.AsyncClient(base_url=host.url) as client:
        await start(client, "waiting", instance_id="w")
    await host.stop()
    client = await serve("durable", hub=hub)
    assert (await client.post(f"{API}/instances/w/raiseEvent/go", json="later")).status_code == 202
    assert (await finished(client, "w"))["output"] == "later"


class Warnings(logging.Handler):
    """`heard` is set once a message with this text was logged."""

    def __init__(self, text: str) -> None:
        super().__init__(logging.WARNING)
        self.text = text
        self.heard = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            self.heard.set()


async def test_an_older_host_leaves_newer_orchestrations_alone(serve: Serve, write_app: Callable[..., Path]) -> None:
    folder = write_app(function_app=VERSIONED)
    hub = folder / "hub.db"

    async def run(version: str, **settings: str) -> tuple[Host, httpx.AsyncClient]:
        versions(folder, defaultVersion=version, **settings)
        host = Host(folder, port=0, hub=hub)
        await host.start()
        return host, httpx.AsyncClient(base_url=host.url)

    host, client = await run("1.10")
    async with client:
        for instance_id in ("a", "b"):
            await start(client, "parent", instance_id=instance_id)
    await host.stop()

    warnings = Warnings("'1.10'")
    logging.getLogger("embedded").addHandler(warnings)
    host, client = await run("1.9")
    async with client:
        await client.post(f"{API}/instances/a/raiseEvent/go", json=None)
        await warnings.heard.wait()
        await start(client, "parent", instance_id="c")
        assert (await client.post(f"{API}/instances/c/raiseEvent/go", json=None)).status_code == 202
        assert (await finished(client, "c"))["output"] == ["1.9", "1.9"]
        assert (await client.get(f"{API}/instances/a")).status_code == 202
    await host.stop()
    logging.getLogger("embedded").removeHandler(warnings)

    host, client = await run("1.9", versionMatchStrategy="Strict", versionFailureStrategy="Fail")
    async with client:
        assert "does not run version '1.10'" in (await finished(client, "a"))["output"]
    await host.stop()

    host, client = await run("2.0")
    async with client:
        await client.post(f"{API}/instances/b/raiseEvent/go", json=None)
        assert (await finished(client, "b"))["output"] == ["1.10", "2.0"]
    await host.stop()


@pytest.mark.parametrize(
    ("own", "match", "version", "runs"),
    [
        (None, "CurrentOrOlder", "9", True),
        ("2.0", "CurrentOrOlder", "", True),
        ("2.0", "CurrentOrOlder", "2.0.1", False),
        ("2.0", "CurrentOrOlder", "1.99", True),
        ("v2", "CurrentOrOlder", "V1", True),
        ("v2", "CurrentOrOlder", "v3", False),
        ("2.0", "Strict", "1.0", False),
        ("2.0", "Strict", "", False),
        ("2.0", "None", "3.0", True),
    ],
)
def test_which_versions_an_app_runs(own: str | None, match: str, version: str, runs: bool) -> None:
    durable = {"defaultVersion": own, "versionMatchStrategy": match}
    assert HostSettings.model_validate({"extensions": {"durableTask": durable}}).runs(version) is runs


class Timed:
    """The app above on a hub file, its timers' statuses for the test to read and to set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "hub.db.timers.json"

    def statuses(self) -> dict[str, Any]:
        return json.loads(self.file.read_text())

    def make_due(self, *names: str, **changes: str) -> None:
        statuses = self.statuses()
        for name in names:
            statuses[name].update({"Next": YESTERDAY.isoformat(), **changes})
        self.file.write_text(json.dumps(statuses))

    async def run(self) -> str:
        """What was called in a run of the host that lasts until the canary was called."""
        host = Host(self.folder, port=0, hub=self.folder / "hub.db")
        await host.start()
        async with httpx.AsyncClient(base_url=host.url, timeout=20) as client:
            calls = (await client.get("/api/calls")).text
        await host.stop()
        return calls


@pytest.fixture
async def timed(write_app: Callable[..., Path]) -> Timed:
    app = Timed(write_app(function_app=TIMED))
    host = Host(app.folder, port=0, hub=app.folder / "hub.db")
    await host.start()
    await host.stop()
    return app


async def test_the_next_occurrence_is_known_from_the_first_start(timed: Timed) -> None:
    statuses = timed.statuses()
    assert sorted(statuses) == ["failing", "yearly", "zcanary"]
    assert statuses["yearly"]["Schedule"] == "0 0 0 1 1 *"
    assert statuses["yearly"]["Last"] == "0001-01-01T00:00:00Z"
    assert statuses["yearly"]["Next"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z"


async def test_what_was_missed_is_run_once_past_due(timed: Timed) -> None:
    timed.make_due("yearly", "failing", "zcanary")
    assert await timed.run() == "[[True, '0001-01-01'], 'failing']"
    after = timed.statuses()
    assert after["yearly"]["Next"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z"
    assert after["failing"]["Last"] > YESTERDAY.isoformat()
    timed.make_due("zcanary")
    assert await timed.run() == "[]"
    assert timed.statuses()["yearly"] == after["yearly"]


async def test_a_changed_schedule_starts_afresh(timed: Timed) -> None:
    timed.make_due("yearly", Schedule="0 0 0 1 6 *")
    timed.make_due("zcanary")
    assert await timed.run() == "[]"
    assert timed.statuses()["yearly"]["Schedule"] == "0 0 0 1 1 *"


async def test_a_run_that_the_stop_cut_short_comes_again(timed: Timed) -> None:
    app = timed.folder / "function_app.py"
    app.write_text(TIMED.replace("len(calls) > 1", "calls"))  # its first call hangs
    timed.make_due("yearly", "zcanary")
    assert await timed.run() == "[[True, '0001-01-01']]"
    app.write_text(TIMED)
    timed.make_due("zcanary")
    assert await timed.run() == "[[True, '0001-01-01']]"


async def test_a_damaged_file_of_timers_is_said_and_kept(timed: Timed) -> None:
    timed.file.write_text('{"yearly": 1}')
    with pytest.raises(StartError, match=r"timers\.json is damaged; delete it"):
        await timed.run()
    assert timed.file.read_text() == '{"yearly": 1}'


async def test_timers_run_though_their_file_cannot_be_written(timed: Timed) -> None:
    timed.make_due("yearly", "zcanary")
    timed.make_due("failing", Schedule="another")  # which is written at the start
    before = timed.statuses()
    timed.file.with_name("hub.db.timers.json.new").mkdir()
    assert await timed.run() == "[[True, '0001-01-01']]"
    assert timed.statuses() == before


async def test_without_a_hub_file_nothing_is_written(serve: Serve, write_app: Callable[..., Path]) -> None:
    folder = write_app(function_app=TIMED)
    await serve(folder)
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["function_app.py"]
