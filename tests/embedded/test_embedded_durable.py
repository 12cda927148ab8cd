"""Orchestrations, activities and entities through the HTTP management API and the hub's protocol."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.embedded.conftest import Serve

API = "/runtime/webhooks/durabletask"


async def start(client: httpx.AsyncClient, name: str, body: Any = None, instance_id: str = "") -> str:
    response = await client.post(f"{API}/orchestrators/{name}/{instance_id}".rstrip("/"), json=body)
    assert response.status_code == 202, response.text
    return response.json()["id"]


async def finished(client: httpx.AsyncClient, instance_id: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (response := await client.get(f"{API}/instances/{instance_id}")).status_code == 202:
            pass
    return response.json()


@pytest.mark.parametrize(
    ("name", "body", "output"),
    [
        ("native", "Ada", ["Hello Ada", {"square": 49}, None]),
        ("classic", ["Ada", "Bo"], ["Hello Ada", "Hello Bo"]),
        ("sleeping", 50, "awake"),
        ("counting", "a", 7),
    ],
)
async def test_an_orchestration_completes(serve: Serve, name: str, body: Any, output: Any) -> None:
    client = await serve("durable")
    state = await finished(client, await start(client, name, body))
    assert (state["runtimeStatus"], state["output"]) == ("Completed", output)


async def test_a_failing_activity_tells_its_type_and_message(serve: Serve) -> None:
    client = await serve("durable")
    state = await finished(client, await start(client, "failing", "too hot"))
    assert state["runtimeStatus"] == "Failed"
    assert "too hot" in state["output"]
    caught = await finished(client, await start(client, "catching", ""))  # an empty message is a failure too
    assert "caught" in caught["output"]


async def test_unknown_names_fail_clearly(serve: Serve) -> None:
    client = await serve("durable")
    state = await finished(client, await start(client, "unknown"))
    assert "no activity function named 'no-such-activity'" in state["output"]
    state = await finished(client, await start(client, "parent", "Ada"))
    assert state["output"][0] == "Hello Ada"
    assert "no orchestration function named 'no-such-orchestration'" in state["output"][1]
    state = await finished(client, await start(client, "haunted"))
    assert "no entity function named 'nosuchentity'" in state["output"]
    assert (await client.post(f"{API}/orchestrators/nobody")).status_code == 400


async def test_events_survive_continue_as_new_in_order(serve: Serve) -> None:
    client = await serve("durable")
    instance_id = await start(client, "collects", [])
    for number in range(20):
        response = await client.post(f"{API}/instances/{instance_id}/raiseEvent/number", json=number)
        assert response.status_code == 202
    assert (await finished(client, instance_id))["output"] == list(range(20))


async def test_many_orchestrations_at_once(serve: Serve) -> None:
    client = await serve("durable")
    instances = [await start(client, "classic", [str(number)] * 3) for number in range(30)]
    for number, instance_id in enumerate(instances):
        assert (await finished(client, instance_id))["output"] == [f"Hello {number}"] * 3


async def test_a_synchronous_function_has_the_synchronous_client(serve: Serve) -> None:
    client = await serve("durable")
    response = await client.get("/api/sync/native")
    links = response.json()
    assert response.status_code == 202
    assert links["statusQueryGetUri"].startswith(f"{client.base_url}{API}/instances/{links['id']}?taskHub=TestsHub")
    assert (await finished(client, links["id"]))["output"][0] == "Hello sync"


async def test_a_timer_function_ticks_and_starts_an_orchestration(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDED_TEST_SCHEDULE", "* * * * * *")
    client = await serve("timers")
    assert "'started'" in (await client.get("/api/seen")).text
    assert (await finished(client, "ticked"))["output"] == "ticked"
