"""Whether it is up, and whether it can work."""

from __future__ import annotations

from dataclasses import replace

from api.app import create_api
from api.doorbell import DurableDoorbell
from nightshift.errors import Retryable
from nightshift.models import MachineState
from tests.api.house import House, NoMachines, client
from tests.api.test_api_begin import HubIsAway


class Broken(NoMachines):
    """The resource manager is away, and its words name what nobody outside should read."""

    asked = 0

    async def state(self, session_id: str) -> MachineState:
        self.asked += 1
        raise Retryable("no answer from https://10.1.2.3/subscriptions/secret")


async def test_ready_when_everything_answers(cloud: House):
    answer = await cloud.http.get("/api/ready")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ready"
    assert {each["name"]: each["ok"] for each in body["dependencies"]} == {
        "store": True,
        "files": True,
        "hub": True,
        "machines": True,
    }


async def test_what_is_away_is_named_and_nothing_more(cloud: House):
    machines = Broken()
    services = replace(cloud.services, machines=machines)
    app = create_api(lambda: services)
    async with client(app, DurableDoorbell(HubIsAway()), "https://nightshift.example") as http:  # type: ignore[arg-type]
        for _ in range(3):
            answer = await http.get("/api/ready")
            assert answer.status_code == 503
            away = {each["name"] for each in answer.json()["dependencies"] if not each["ok"]}
            assert (answer.json()["status"], away) == ("not_ready", {"hub", "machines"})
            assert "secret" not in answer.text
    assert machines.asked == 1  # what was found is kept for some seconds
