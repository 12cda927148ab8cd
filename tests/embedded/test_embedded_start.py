"""Starting and stopping: the command line, its errors, and what is left behind."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from embedded.errors import StartError
from embedded.host import PUBSUB, Host
from tests.embedded.conftest import APPS

ROOT = Path(__file__).parents[2]
APP = "import azure.functions as func\napp = func.FunctionApp()\n"


UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@contextmanager
def command(folder: Path, *options: str) -> Generator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-m", "embedded", "start", "--app-dir", str(folder), *options]
    process = subprocess.Popen(
        arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_lists_serves_and_stops(stop: signal.Signals) -> None:
    with command(APPS / "durable", "--port", "0") as process:
        assert process.stdout
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Listening on "):
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()
        url = lines[-1].removeprefix("Listening on ").strip()
        listed = [line.split() for line in lines]
        assert ["start_sync", "http", "ANY", f"{url}/api/sync/{{name}}"] in listed
        assert ["collecting", "orchestration", "collects"] in listed
        assert ["square", "activity", "square-it"] in listed
        assert ["counter", "entity", "counter"] in listed
        api = f"{url}/runtime/webhooks/durabletask"
        assert httpx.post(f"{api}/orchestrators/waiting").status_code == 202
        assert httpx.get(f"{api}/instances?code=a-secret-key").status_code == 200
        assert httpx.get(f"{url}/client/hubs/h?access_token=a-secret-token", headers=UPGRADE).status_code == 401
        process.send_signal(stop)
        output = "".join(process.communicate(timeout=30))
        assert process.returncode == 0
        assert "a-secret" not in output
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)  # no process of its session is left


def listening(process: subprocess.Popen[str]) -> str:
    """The URL, once it is served."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("Listening on "):
            return line.removeprefix("Listening on ").strip()
    raise AssertionError(process.communicate())


def hello(word: str) -> str:
    return f"{APP}@app.route('hello', auth_level='anonymous')\ndef hello(req): return '{word}'\n"


def test_reload_starts_again_after_a_change(write_app: Callable[..., Path]) -> None:
    app = write_app(function_app=hello("one")) / "function_app.py"
    with command(app.parent, "--port", "0", "--reload") as process:
        assert httpx.get(f"{listening(process)}/api/hello").text == "one"
        app.write_text("import nowhere")
        assert process.stderr
        while "error: importing" not in process.stderr.readline():
            pass
        app.write_text(hello("two"))
        url = listening(process)
        assert httpx.get(f"{url}/api/hello").text == "two"
        (app.parent / "host.json").write_text('{"extensions": {"http": {"routePrefix": ""}}}')
        url = listening(process)
        assert httpx.get(f"{url}/hello").text == "two"
        (host,) = psutil.Process(process.pid).children()
        process.terminate()
        assert process.wait() == 0
        assert not host.is_running()
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def refusal(folder: Path, hub: Path) -> str:
    with command(folder, "--port", "0", "--hub", str(hub)) as process:
        _, errors = process.communicate()
        assert process.returncode == 1
        assert "Traceback" not in errors
        return errors.splitlines()[-1]


def test_a_hub_is_refused_to_a_second_host_and_when_it_is_none(write_app: Callable[..., Path]) -> None:
    folder = write_app(function_app=APP)
    hub = folder / "hub.db"
    with command(folder, "--port", "0", "--hub", str(hub)) as first:
        listening(first)
        assert f"{hub}: another host uses it; stop that one" in refusal(folder, hub)
    other = folder / "other.db"
    other.write_bytes(b"no hub" * 1000)
    assert str(other) in refusal(folder, other)
    assert other.read_bytes() == b"no hub" * 1000


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no function_app.py"),
        ({"function_app": "import no_such_module"}, "No module named 'no_such_module'"),
        ({"function_app": "def"}, "SyntaxError"),
        ({"function_app": "x = 1"}, "has no FunctionApp"),
        ({"function_app": APP + "second = func.FunctionApp()"}, "has 2 FunctionApps"),
        ({"function_app": APP, "host_json": "{"}, "host.json"),
        ({"function_app": APP, "host_json": "[]"}, "host.json"),
        ({"function_app": APP, "host_json": '{"extensions": {"http": {"routePrefix": 1}}}'}, "routePrefix"),
        ({"function_app": APP, "local_settings_json": "{"}, "local.settings.json"),
        ({"function_app": APP, "local_settings_json": '{"IsEncrypted": true}'}, "IsEncrypted"),
        (
            {"function_app": APP, "host_json": '{"extensions": {"durableTask": {"versionMatchStrategy": "Any"}}}'},
            "Strict",
        ),
        ({"function_app": APP + "@app.route('{a:odd}')\ndef f(req): ...\n"}, "constraint 'odd' is not supported"),
        ({"function_app": APP + "@app.schedule('timer', 'x')\ndef f(timer): ...\n"}, "schedule 'x'"),
        ({"function_app": APP + "@app.route('a')\ndef f(other): ...\n"}, "binding 'req' is not one of"),
        ({"function_app": APP + "@app.queue_trigger('m', 'q', 'c')\ndef f(m): ...\n"}, "queueTrigger is not served"),
    ],
)
def test_errors_end_with_code_1(write_app: Callable[..., Path], files: dict[str, str], message: str) -> None:
    with command(write_app(**files), "--port", "0") as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert message in errors.splitlines()[-1]
        assert ("Traceback" in errors) == ("importing" in errors)


async def test_a_taken_port_is_said_and_leaves_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}"):
            await Host(APPS / "web", port=port).start()


async def test_stop_gives_back_environment_modules_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PUBSUB, raising=False)
    environment, modules, path = dict(os.environ), sys.modules.get("pages"), list(sys.path)
    host = Host(APPS / "fastapi_app", port=0)
    await host.start()
    assert "pages" in sys.modules
    assert PUBSUB in os.environ
    port = int(host.url.rpartition(":")[2])
    await host.stop()
    await host.stop()
    assert (dict(os.environ), sys.modules.get("pages"), sys.path) == (environment, modules, path)
    socket.create_server(("127.0.0.1", port)).close()


async def test_a_pubsub_of_ones_own_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    own = "Endpoint=https://example.webpubsub.azure.com;AccessKey=key;Version=1.0;"
    monkeypatch.setenv(PUBSUB, own)
    host = Host(APPS / "web", port=0)
    await host.start()
    assert os.environ[PUBSUB] == own
    await host.stop()


async def test_a_request_that_outlasts_the_drain_is_told_to_come_again(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(APPS / "web", port=0)
    await host.start()
    async with httpx.AsyncClient(base_url=host.url, timeout=20) as client:
        endless = asyncio.create_task(client.get("/api/endless"))
        await client.get("/api/entered")
        await host.stop()
        assert (await endless).status_code == 503
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
