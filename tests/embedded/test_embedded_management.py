import asyncio
from typing import Any

import httpx

from tests.embedded.conftest import Serve
from tests.embedded.test_embedded_durable import API, finished, start


async def reaches(client: httpx.AsyncClient, instance_id: str, status: str) -> None:
    async with asyncio.timeout(20):
        while (await client.get(f"{API}/instances/{instance_id}")).json()["runtimeStatus"] != status:
            pass


async def test_the_status_has_durables_fields(serve: Serve) -> None:
    client = await serve("durable")
    instance_id = await start(client, "native", "Ada", "my id")
    assert instance_id == "my id"
    state = await finished(client, instance_id)
    assert state.pop("createdTime") < state.pop("lastUpdatedTime") < "9"
    assert state == {
        "name": "native",
        "instanceId": "my id",
        "runtimeStatus": "Completed",
        "input": "Ada",
        "customStatus": {"stage": "greeting"},
        "output": ["Hello Ada", {"square": 49}, None],
    }
    assert (await client.get(f"{API}/instances/my id?showInput=false")).json()["input"] is None
    waiting = (await client.get(f"{API}/instances/{await start(client, 'waiting')}")).json()
    assert (waiting["input"], waiting["output"], waiting["customStatus"]) == (None, None, None)


async def test_the_history_shows_inputs_and_outputs_when_asked(serve: Serve) -> None:
    client = await serve("durable")
    url = f"{API}/instances/{await start(client, 'classic', ['Ada'], 'classic-1')}"
    await finished(client, "classic-1")

    async def history(**params: bool) -> list[dict[str, Any]]:
        return (await client.get(url, params={"showHistory": True, **params})).json()["historyEvents"]

    plain = await history(showInput=False)
    assert [event["EventType"] for event in plain] == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]
    assert plain[0]["FunctionName"] == "classic"
    assert plain[1]["FunctionName"] == "greet"
    assert plain[2]["OrchestrationStatus"] == "Completed"
    assert not any("Input" in event or "Result" in event for event in plain)
    full = await history(showHistoryOutput=True)
    assert full[0]["Input"] == '["Ada"]'
    assert (full[1]["Result"], full[2]["Result"]) == ("Hello Ada", ["Hello Ada"])
    assert "historyEvents" not in (await client.get(url)).json()


async def test_status_codes_of_the_status(serve: Serve) -> None:
    client = await serve("durable")
    assert (await client.get(f"{API}/instances/none")).status_code == 404
    failed = await start(client, "failing", "x")
    await finished(client, failed)
    assert (await client.get(f"{API}/instances/{failed}")).status_code == 200
    asked = await client.get(f"{API}/instances/{failed}?returnInternalServerErrorOnFailure=true")
    assert asked.status_code == 500
    waiting = await client.get(f"{API}/instances/{await start(client, 'waiting')}")
    assert waiting.status_code == 202
    assert waiting.headers["location"].endswith(waiting.json()["instanceId"])
    assert (await client.get(f"{API}/instances/{failed}?showInput=perhaps")).status_code == 400
    assert (await client.get(f"{API.upper()}/Instances/{failed}/")).status_code == 200  # as ASP.NET routes


async def test_a_start_may_wait_for_the_end(serve: Serve) -> None:
    client = await serve("durable")
    orchestrators = f"{API}/orchestrators"
    response = await client.post(f"{orchestrators}/native?timeout=20&pollingInterval=1", json="Ada")
    assert (response.status_code, response.json()[0]) == (200, "Hello Ada")
    response = await client.post(f"{orchestrators}/failing/f?timeout=20", json="too hot")
    assert (response.status_code, response.json()["runtimeStatus"]) == (200, "Failed")
    response = await client.post(f"{API}/instances/f/restart?timeout=20&returnInternalServerErrorOnFailure=true")
    assert response.status_code == 500
    response = await client.post(f"{orchestrators}/waiting?timeout=0.01")
    assert (response.status_code, response.headers["location"]) == (202, response.json()["statusQueryGetUri"])
    assert (await client.post(f"{orchestrators}/native?timeout=-1")).status_code == 400
    assert (await client.post(f"{orchestrators}/native", content=b"{")).status_code == 400


async def test_events_go_to_running_instances_only(serve: Serve) -> None:
    client = await serve("durable")
    instance_id = await start(client, "waiting")
    event = f"{API}/instances/{instance_id}/raiseEvent/go"
    assert (await client.post(event, content=b'"text"', headers={"content-type": "text/plain"})).status_code == 400
    json = {"content-type": "application/json; charset=utf-8"}
    assert (await client.post(event, content=b"{not json", headers=json)).status_code == 400
    assert (await client.post(event, content=b'{"a": 1}', headers=json)).status_code == 202
    assert (await finished(client, instance_id))["output"] == {"a": 1}
    assert (await client.post(event, json=1)).status_code == 410
    assert (await client.post(f"{API}/instances/none/raiseEvent/go", json=1)).status_code == 404


async def test_suspend_resume_terminate_restart_purge(serve: Serve) -> None:
    client = await serve("durable")
    instance_id = await start(client, "waiting")
    instance = f"{API}/instances/{instance_id}"
    assert (await client.delete(instance)).status_code == 409
    assert (await client.post(f"{instance}/restart?restartWithNewInstanceId=false")).status_code == 400
    assert (await client.post(f"{instance}/suspend?reason=lunch")).status_code == 202
    await reaches(client, instance_id, "Suspended")
    assert (await client.post(f"{instance}/resume")).status_code == 202
    await reaches(client, instance_id, "Running")
    assert (await client.post(f"{instance}/dance")).status_code == 404
    assert (await client.post(f"{instance}/terminate?reason=enough")).status_code == 202
    assert (await finished(client, instance_id))["output"] == "enough"
    for gone in ("terminate", "suspend", "resume", "rewind"):
        assert (await client.post(f"{instance}/{gone}")).status_code == 410
    fresh = await client.post(f"{instance}/restart")
    assert fresh.json()["id"] != instance_id
    restarted = await client.post(f"{instance}/restart?restartWithNewInstanceId=false")
    assert (restarted.status_code, restarted.json()["id"]) == (202, instance_id)
    assert (await client.post(f"{API}/orchestrators/waiting/{instance_id}")).status_code == 409
    await client.post(f"{instance}/raiseEvent/go", json="again")
    assert (await finished(client, instance_id))["output"] == "again"
    assert (await client.delete(instance)).json() == {"instancesDeleted": 1}
    assert (await client.delete(instance)).status_code == 404
    assert (await client.post(f"{instance}/restart")).status_code == 400
    assert (await client.post(f"{instance}/terminate")).status_code == 404


async def test_a_failed_instance_is_rewound(serve: Serve) -> None:
    client = await serve("durable")
    instance_id = await start(client, "recovering")
    assert (await client.post(f"{API}/instances/{await start(client, 'waiting')}/rewind")).status_code == 400
    assert (await finished(client, instance_id))["runtimeStatus"] == "Failed"
    assert (await client.post(f"{API}/instances/{instance_id}/rewind?reason=fixed")).status_code == 202
    assert (await finished(client, instance_id))["output"] == "recovered"


async def test_instances_are_filtered_paged_and_purged(serve: Serve) -> None:
    client = await serve("durable")
    for number in range(5):
        await finished(client, await start(client, "classic", ["x"], f"done-{number}"))
    await start(client, "waiting", instance_id="open-1")
    await reaches(client, "open-1", "Running")

    async def ids(**params: str | int) -> list[str]:
        return [each["instanceId"] for each in (await client.get(f"{API}/instances", params=params)).json()]

    assert len(await ids()) == 6
    assert await ids(runtimeStatus="Running,Pending") == ["open-1"]
    assert len(await ids(instanceIdPrefix="done-")) == 5
    assert await ids(createdTimeFrom="2999-01-01T00:00:00Z") == []
    assert len(await ids(createdTimeTo="2999-01-01T00:00:00Z")) == 6
    for wrong in ("runtimeStatus=Sleeping", "createdTimeTo=soon", "top=many"):
        assert (await client.get(f"{API}/instances?{wrong}")).status_code == 400
    assert [each["input"] for each in (await client.get(f"{API}/instances?showInput=false")).json()] == [None] * 6

    pages: list[int] = []
    token = ""
    while not pages or token:
        page = await client.get(f"{API}/instances?top=4", headers={"x-ms-continuation-token": token})
        token = page.headers["x-ms-continuation-token"]
        pages.append(len(page.json()))
    assert pages == [4, 2]

    assert (await client.delete(f"{API}/instances")).status_code == 400
    ever = f"{API}/instances?createdTimeFrom=2000-01-01"
    assert (await client.delete(f"{ever}&runtimeStatus=Failed")).status_code == 404
    assert (await client.delete(f"{ever}&createdTimeTo=2000-01-02")).status_code == 404
    purged = await client.delete(f"{ever}&runtimeStatus=Completed,Failed")
    assert (purged.status_code, purged.json()) == (200, {"instancesDeleted": 5})
    assert await ids() == ["open-1"]


async def test_entities_are_signalled_and_read(serve: Serve) -> None:
    client = await serve("durable")
    counter = f"{API}/entities/Counter/steps"
    assert (await client.get(counter)).status_code == 404
    assert (await client.post(f"{counter}?op=add", json=5)).status_code == 202
    assert (await client.post(f"{counter}?op=add", content=b"5")).status_code == 400
    async with asyncio.timeout(20):
        while (read := await client.get(counter)).status_code == 404:
            pass
    assert (read.status_code, read.json()) == (200, 5)
    await client.post(f"{API}/entities/counter/miles?op=add", json=7)
    async with asyncio.timeout(20):
        while len((listed := await client.get(f"{API}/entities?fetchState=true")).json()) < 2:
            pass
    assert {each["entityId"]["key"]: each["state"] for each in listed.json()} == {"steps": 5, "miles": 7}
    assert (await client.get(f"{API}/entities/other")).json() == []
    first = await client.get(f"{API}/entities/Counter?top=1")
    (oldest,) = first.json()
    assert oldest.keys() == {"entityId", "lastOperationTime"}
    token = {"x-ms-continuation-token": first.headers["x-ms-continuation-token"]}
    (latest,) = (await client.get(f"{API}/entities/Counter?top=1", headers=token)).json()
    assert {each["entityId"]["key"] for each in (oldest, latest)} == {"steps", "miles"}
    since = {"lastOperationTimeFrom": latest["lastOperationTime"]}
    assert (await client.get(f"{API}/entities", params=since)).json() == [latest]
