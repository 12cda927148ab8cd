import asyncio
import re

from tests.embedded.conftest import Serve
from tests.embedded.test_embedded_durable import API, finished, start


async def test_the_status_has_durables_fields(serve: Serve) -> None:
    client = await serve("durable")
    instance_id = await start(client, "native", "Ada", "my id")
    assert instance_id == "my id"
    state = await finished(client, instance_id)
    assert list(state) == [
        "name", "instanceId", "runtimeStatus", "input", "customStatus", "output", "createdTime", "lastUpdatedTime",
    ]  # fmt: skip
    assert state["customStatus"] == {"stage": "greeting"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", state["createdTime"])
    assert (await client.get(f"{API}/instances/my id?showInput=false")).json()["input"] is None
    history = (await client.get(f"{API}/instances/my id?showHistory=true")).json()["historyEvents"]
    assert len(history) > 5


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


async def test_events_go_to_running_instances_only(serve: Serve) -> None:
    client = await serve("durable")
    instance_id = await start(client, "waiting")
    event = f"{API}/instances/{instance_id}/raiseEvent/go"
    assert (await client.post(event, content=b"{not json")).status_code == 400
    assert (await client.post(event, json={"a": 1})).status_code == 202
    assert (await finished(client, instance_id))["output"] == {"a": 1}
    assert (await client.post(event, json=1)).status_code == 410
    assert (await client.post(f"{API}/instances/none/raiseEvent/go", json=1)).status_code == 404


async def test_suspend_resume_terminate_restart_rewind_purge(serve: Serve) -> None:
    client = await serve("durable")
    instance_id = await start(client, "waiting")
    instance = f"{API}/instances/{instance_id}"

    async def reaches(status: str) -> None:
        async with asyncio.timeout(20):
            while (await client.get(instance)).json()["runtimeStatus"] != status:
                pass

    assert (await client.delete(instance)).status_code == 409
    assert (await client.post(f"{instance}/suspend?reason=lunch")).status_code == 202
    await reaches("Suspended")
    assert (await client.post(f"{instance}/resume")).status_code == 202
    await reaches("Running")
    assert (await client.post(f"{instance}/terminate?reason=enough")).status_code == 202
    assert (await finished(client, instance_id))["output"] == "enough"
    assert (await client.post(f"{instance}/terminate")).status_code == 410
    assert (await client.post(f"{instance}/rewind")).status_code == 410
    restarted = await client.post(f"{instance}/restart?restartWithNewInstanceId=false")
    assert (restarted.status_code, restarted.json()["id"]) == (202, instance_id)
    assert (await client.post(f"{API}/orchestrators/waiting/{instance_id}")).status_code == 409
    await client.post(f"{instance}/raiseEvent/go", json="again")
    assert (await finished(client, instance_id))["output"] == "again"
    assert (await client.delete(instance)).json() == {"instancesDeleted": 1}
    assert (await client.delete(instance)).status_code == 404


async def test_instances_are_filtered_and_paged(serve: Serve) -> None:
    client = await serve("durable")
    for number in range(5):
        await finished(client, await start(client, "classic", ["x"], f"done-{number}"))
    await start(client, "waiting", instance_id="open-1")

    async def ids(**params: str | int) -> list[str]:
        return [each["instanceId"] for each in (await client.get(f"{API}/instances", params=params)).json()]

    assert len(await ids()) == 6
    assert await ids(runtimeStatus="Running,Pending") == ["open-1"]
    assert len(await ids(instanceIdPrefix="done-")) == 5
    assert await ids(createdTimeFrom="2999-01-01T00:00:00Z") == []
    assert len(await ids(createdTimeTo="2999-01-01T00:00:00Z")) == 6
    assert (await client.get(f"{API}/instances?runtimeStatus=Sleeping")).status_code == 400
    assert (await client.get(f"{API}/instances?createdTimeTo=soon")).status_code == 400

    pages: list[int] = []
    token = ""
    while not pages or token:
        page = await client.get(f"{API}/instances?top=4", headers={"x-ms-continuation-token": token})
        token = page.headers["x-ms-continuation-token"]
        pages.append(len(page.json()))
    assert pages == [4, 2]
