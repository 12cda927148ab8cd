"""Programs in a namespace of their own are told from the user's own, and trusted with nothing."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from embedded.callers import TELLS, in_our_namespace
from embedded.errors import StartError
from embedded.host import Host
from tests.embedded.conftest import APPS, Serve
from tests.embedded.test_embedded_durable import API

pytestmark = pytest.mark.skipif(not TELLS, reason="without /proc nobody is told from anybody")

CALL = """
import http.client, json, sys
port, paths, headers = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("127.0.0.1", port)
for path in paths:
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    print(json.dumps([response.status, response.read().decode()]))
"""
ECHO = """
import json
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
@app.route("seen")
def seen(req: func.HttpRequest) -> str:
    return json.dumps(req.headers.get("X-Caller-Namespace"))
"""

Inside = Callable[..., Awaitable[list[tuple[int, str]]]]


@pytest.fixture
def inside() -> Inside:
    """`await inside(client, path, ...)` asks on one connection, from a PID namespace of its own on the same network."""
    program = shutil.which("bwrap")
    if program is None:
        pytest.skip("bwrap is not there")
    box = (program, "--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--")
    if subprocess.run((*box, "true"), capture_output=True).returncode:
        pytest.skip("bwrap does not work here")

    async def ask(
        client: httpx.AsyncClient, *paths: str, headers: dict[str, str] | None = None
    ) -> list[tuple[int, str]]:
        given = json.dumps([client.base_url.port, paths, headers or {}])
        asking = await asyncio.create_subprocess_exec(*box, sys.executable, "-c", CALL, given, stdout=subprocess.PIPE)
        answers, _ = await asking.communicate()
        assert asking.returncode == 0
        return [(status, text) for status, text in map(json.loads, answers.splitlines())]

    return ask


async def test_requests_of_another_namespace_are_marked(
    serve: Serve, inside: Inside, write_app: Callable[..., object]
) -> None:
    client = await serve(write_app(function_app=ECHO))
    for sent in ({}, {"X-Caller-Namespace": "ours"}, {"x-caller-namespace": "other"}):
        assert (await client.get("/api/seen", headers=sent)).json() is None
        assert await inside(client, "/api/seen", "/api/seen", headers=sent) == [(200, '"other"')] * 2


async def test_another_namespace_needs_a_key(serve: Serve, inside: Inside) -> None:
    web = await serve("web", admin_key="a-key")
    assert (await web.get("/api/keyed")).status_code == 200
    ((status, _),) = await inside(web, "/api/keyed")
    assert status == 401
    durable = await serve("durable", admin_key="a-key")
    instances = f"{API}/instances"
    assert (await durable.get(instances)).status_code == 200
    assert [status for status, _ in await inside(durable, instances, f"{instances}?code=a-key")] == [401, 200]


async def test_the_host_listens_nowhere_else() -> None:
    before = _listening()
    host = Host(APPS / "durable", port=0)
    await host.start()
    try:
        assert {f"http://127.0.0.1:{port}" for port in _listening() - before} == {host.url}
    finally:
        await host.stop()


async def test_a_folder_too_deep_for_a_socket_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(StartError, match="choose another TMPDIR"):
        await Host(APPS / "durable", port=0).start()
    assert list(deep.iterdir()) == []


def _listening() -> set[int]:
    found = psutil.Process().net_connections("tcp")
    return {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}


@pytest.fixture
def server() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_connection_is_of_who_holds_it(server: socket.socket) -> None:
    here = server.getsockname()
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")):
        with socket.socket(family) as ours:
            ours.connect((host, here[1]))
            with closing(server.accept()[0]) as theirs:
                assert in_our_namespace(theirs.getpeername(), here)
                assert not in_our_namespace(here, here), "nobody has called from there"
                ours.close()
                assert not in_our_namespace(theirs.getpeername(), here), "the caller has gone"


def test_a_connection_that_nobody_holds_is_not_ours(server: socket.socket) -> None:
    here, (left, right) = server.getsockname(), socket.socketpair()
    with left, right, socket.create_connection(here) as caller, closing(server.accept()[0]) as theirs:
        socket.send_fds(left, [b"x"], [caller.fileno()])
        caller.close()  # it lives on, in a message that waits
        assert not in_our_namespace(theirs.getpeername(), here)
        _, handles, _, _ = socket.recv_fds(right, 1, 1)
        assert in_our_namespace(theirs.getpeername(), here)
        os.close(handles[0])
