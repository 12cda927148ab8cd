import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request

from embedded.auth import Keys
from embedded.host import SPARE_THREADS
from tests.embedded.conftest import Serve

APP = "import azure.durable_functions as df\napp = df.DFApp(http_auth_level='ANONYMOUS')\n"
POOL = f"""{APP}
import asyncio, threading
inside, most, lock, entered, released = 0, 0, threading.Lock(), threading.Semaphore(0), threading.Event()

@app.route("enter")
def enter(req):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
    entered.release()
    released.wait()
    with lock:
        inside -= 1

@app.route("release")
async def release(req):
    for _ in range(int(req.params["after"])):
        await asyncio.to_thread(entered.acquire)
    released.set()

@app.route("most")
async def get_most(req):
    return str(most)
"""


async def test_a_binary_body_comes_back_with_status_and_headers(serve: Serve) -> None:
    client = await serve("web")
    body = bytes(range(256))
    response = await client.put("/api/echo?q=a%2Fb", content=body, headers={"X-Asked": "yes"})
    assert (response.status_code, response.content) == (201, body)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["x-method"] == "PUT"
    assert response.headers["x-header"] == "yes"
    assert response.headers["x-url"] == f"{client.base_url}/api/echo?q=a%2Fb"


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/api/items/7?q=a&q=b", 200, "item 7 a,b item"),
        ("GET", "/api/ITEMS/7", 200, "item 7 None item"),
        ("GET", "/api/items/special", 200, "special"),
        ("GET", "/api/items/seven", 404, ""),
        ("POST", "/api/items/7", 404, ""),
        ("DELETE", "/api/items/7", 204, ""),
        ("GET", "/api/files/a/b%20c.txt", 200, "a/b c.txt"),
        ("GET", "/api/files", 200, "none"),
        ("GET", "/api/maybe/me", 200, "me"),
        ("GET", "/api/maybe/a%2Fb", 200, "a%2Fb"),
        ("GET", "/api/maybe", 200, "none"),
        ("GET", "/api/nowhere", 404, ""),
        ("GET", "/", 404, ""),
        ("GET", "/api/broken", 500, ""),
        ("GET", "/api/list", 500, ""),
        ("POST", "/api/nothing", 204, ""),
        ("HEAD", "/api/items/7", 404, ""),
        ("GET", "/api/thread", 200, "False True"),
    ],
)
async def test_routes(serve: Serve, method: str, path: str, status: int, text: str) -> None:
    response = await (await serve("web")).request(method, path)
    assert (response.status_code, response.text) == (status, text)


async def test_synchronous_functions_share_a_bounded_pool(serve: Serve, write_app: Callable[..., Path]) -> None:
    threads = 1 + SPARE_THREADS
    folder = write_app(
        function_app=POOL, host_json='{"extensions": {"durableTask": {"maxConcurrentActivityFunctions": 1}}}'
    )
    client = await serve(folder)
    crowd = [asyncio.create_task(client.get("/api/enter")) for _ in range(2 * threads)]
    assert (await client.get(f"/api/release?after={threads}")).status_code == 204  # the event loop is not held up
    assert {(await each).status_code for each in crowd} == {204}
    assert (await client.get("/api/most")).text == str(threads)


async def test_an_asgi_app_serves_itself(serve: Serve, write_app: Callable[..., Path]) -> None:
    folder = write_app(
        function_app="import azure.functions as func\nfrom fastapi import FastAPI\napi = FastAPI()\n"
        "api.get('/api/hello/{name}')(lambda name: {'hello': name})\n"
        "app = func.AsgiFunctionApp(app=api, http_auth_level='ANONYMOUS')\n"
    )
    client = await serve(folder)
    assert (await client.get("/api/hello/Ada")).json() == {"hello": "Ada"}
    assert (await client.get("/elsewhere")).status_code == 404


async def test_every_cookie_arrives(serve: Serve) -> None:
    response = await (await serve("web")).get("/api/cookies")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_local_settings_are_variables_unless_the_environment_has_them(
    serve: Serve, write_app: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDED_THERE", "there")
    folder = write_app(
        function_app="import os\nimport azure.functions as func\napp = func.FunctionApp()\n"
        "@app.route('v', auth_level='anonymous')\ndef v(req): return os.environ['EMBEDDED_'+req.params['n']]\n",
        local_settings_json='{"Values": {"EMBEDDED_NEW": "new", "EMBEDDED_THERE": "ignored"}}',
    )
    client = await serve(folder)
    assert (await client.get("/api/v?n=NEW")).text == "new"
    assert (await client.get("/api/v?n=THERE")).text == "there"


async def test_settings_name_the_task_hub(serve: Serve, write_app: Callable[..., Path]) -> None:
    folder = write_app(
        function_app=f"{APP}@app.orchestration_trigger('ctx')\ndef done(ctx, _): return 1\n",
        host_json='{"extensions": {"durableTask": {"hubName": "%EMBEDDED_HUB%"}}}',
        local_settings_json='{"Values": {"EMBEDDED_HUB": "mine"}}',
    )
    started = await (await serve(folder)).post("/runtime/webhooks/durabletask/orchestrators/done")
    assert "?taskHub=mine&" in started.json()["statusQueryGetUri"]


async def test_loopback_needs_a_key_for_admin_only(serve: Serve) -> None:
    client = await serve("web", admin_key="the-key")
    assert (await client.get("/api/keyed")).status_code == 200
    assert (await client.get("/api/administered")).status_code == 401
    assert (await client.get("/api/administered", headers={"x-functions-key": "the-key"})).status_code == 200
    assert (await client.get("/api/administered?code=the-key")).status_code == 200
    assert (await client.get("/api/administered?code=wrong")).status_code == 401


@pytest.mark.parametrize("headers", [{"x-forwarded-for": "1.2.3.4"}, {"host": "evil.example"}])
async def test_forwarded_and_renamed_requests_are_strangers(serve: Serve, headers: dict[str, str]) -> None:
    client = await serve("web", admin_key="the-key")
    assert (await client.get("/api/keyed", headers=headers)).status_code == 401
    assert (await client.get("/api/keyed?code=the-key", headers=headers)).status_code == 200
    assert (await client.get("/api/echo", headers=headers)).status_code == 201
    assert (await client.get("/runtime/webhooks/durabletask/instances", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("loopback_only", "address", "level", "allowed"),
    [
        (True, "127.0.0.1", "function", True),
        (True, "::1", "function", True),
        (True, "127.0.0.1", "admin", False),
        (False, "127.0.0.1", "function", False),
        (False, "10.0.0.1", "anonymous", True),
    ],
)
def test_who_needs_a_key(loopback_only: bool, address: str, level: str, allowed: bool) -> None:
    headers = [(b"host", b"localhost:7071")]
    scope = {"type": "http", "client": (address, 1), "headers": headers, "query_string": b"", "path": "/"}
    assert Keys("the-key", loopback_only).allows(Request(scope), level) is allowed


async def test_fastapi_behind_a_catch_all_uses_the_durable_client(serve: Serve) -> None:
    client = await serve("fastapi_app")
    assert (await client.get("/v1/double/21")).json() == {"output": 42}
    response: httpx.Response = await client.post("/v1/body", params={"q": "a/b c"}, content=b"\x00\xff")
    assert (response.status_code, response.content) == (200, b"\x00\xff")
    assert response.headers["content-type"] == "image/png"
    assert (await client.get("/v1/double/x")).status_code == 422


async def test_two_apps_of_the_same_module_names_after_each_other(serve: Serve, write_app: Callable[..., Path]) -> None:
    await serve("fastapi_app")  # function_app and pages
    folder = write_app(
        function_app="import azure.functions as func\nimport other\napp = func.FunctionApp()\n"
        "@app.route('name', auth_level='anonymous')\ndef name(req): return other.NAME\n",
        other="NAME = 'mine'",
    )
    client = await serve(folder)
    assert (await client.get("/api/name")).text == "mine"
