"""What is asked of Azure. Much of it is what the predecessor of this project got wrong."""

from __future__ import annotations

import base64
from typing import Any, cast

from nightshift.machines.azure import AzureMachines
from nightshift.models import MachineSpec, Power
from nightshift.testing.arm import Arm
from tests.machines.caller import TOKEN, Clock, spec, start, until, with_settings


async def created(arm: Arm, clock: Clock, **changes: Any) -> dict[str, Any]:
    async with with_settings(arm, **changes) as machines:
        await start(machines, 1, clock)
    (sent,) = [it for it in arm.journal if it.method == "PUT"]
    assert sent.headers["if-none-match"] == "*"
    return sent.body


def names(value: Any) -> set[str]:
    if isinstance(value, dict):
        entries = cast(dict[str, Any], value)
        return set(entries) | {name for each in entries.values() for name in names(each)}
    return {name for each in cast(list[Any], value) for name in names(each)} if isinstance(value, list) else set()


async def test_one_request_makes_the_machine_and_all_that_goes_with_it(arm: Arm, clock: Clock) -> None:
    body = await created(arm, clock)
    disk = body["properties"]["storageProfile"]["osDisk"]
    (nic,) = body["properties"]["networkProfile"]["networkInterfaceConfigurations"]
    assert disk["deleteOption"] == nic["properties"]["deleteOption"] == "Delete"
    assert [it.method for it in arm.journal if it.method != "GET"] == ["PUT"]
    assert len(arm.cloud.vms) == len(arm.cloud.disks) == len(arm.cloud.nics) == 1


async def test_nobody_gets_in(arm: Arm, clock: Clock) -> None:
    body = await created(arm, clock)
    linux = body["properties"]["osProfile"]["linuxConfiguration"]
    assert linux["disablePasswordAuthentication"] is True
    assert linux["ssh"]["publicKeys"][0]["keyData"].startswith("ssh-rsa ")
    assert body["properties"]["osProfile"]["allowExtensionOperations"] is False
    assert not {"adminPassword", "customData", "publicIPAddressConfiguration"} & names(body)


async def test_a_person_may_get_in_if_the_team_wants_it(arm: Arm, clock: Clock) -> None:
    body = await created(arm, clock, ssh_key="ssh-ed25519 AAAA ann@example")
    (key,) = body["properties"]["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"]
    assert key["keyData"] == "ssh-ed25519 AAAA ann@example"


async def test_its_boot_is_measured_and_its_screen_kept(arm: Arm, clock: Clock) -> None:
    properties = (await created(arm, clock))["properties"]
    assert properties["securityProfile"]["securityType"] == "TrustedLaunch"
    assert properties["securityProfile"]["uefiSettings"] == {"secureBootEnabled": True, "vTpmEnabled": True}
    assert properties["diagnosticsProfile"] == {"bootDiagnostics": {"enabled": True}}  # kept by Azure itself


async def test_it_has_the_machines_identity_and_no_other(arm: Arm, clock: Clock) -> None:
    body = await created(arm, clock)
    assert body["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {arm.settings().identity: {}}}


async def test_user_data_opens_its_own_session_and_nothing_else(arm: Arm, clock: Clock) -> None:
    body = await created(arm, clock)
    data = MachineSpec.model_validate_json(base64.b64decode(body["properties"]["userData"]))
    assert (data.session_id, data.generation, data.token) == ("s-1", 1, f"{TOKEN}-1")
    assert data.api_url == "https://nightshift.example"


async def test_the_tags_say_whose_it_is(arm: Arm, clock: Clock) -> None:
    tags = (await created(arm, clock))["tags"]
    assert tags.pop("nightshift-started")
    assert tags == {"app": "nightshift", "nightshift-session": "s-1", "nightshift-generation": "1"}


async def test_regular_or_spot_in_a_zone_or_anywhere(arm: Arm, clock: Clock) -> None:
    assert not {"priority", "evictionPolicy", "billingProfile", "zones"} & names(await created(arm, clock))


async def test_spot_machines_keep_their_disk_when_they_are_taken(arm: Arm, clock: Clock) -> None:
    body = await created(arm, clock, spot=True, zones=("2", "3"))
    properties = body["properties"]
    assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Deallocate")
    assert properties["billingProfile"] == {"maxPrice": -1}
    assert body["zones"] == ["2"]


async def test_the_next_generation_is_handed_over_at_rest(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    arm.cloud.vms["nightshift-s-1"].body["tags"]["cost-centre"] = "research"
    await start(machines, 2, clock)
    (sent,) = [it for it in arm.journal if it.method == "PATCH"]
    assert sent.headers["if-match"]
    assert sent.body["tags"]["nightshift-generation"] == "2"
    assert sent.body["tags"]["cost-centre"] == "research", "others' tags stay"
    data = MachineSpec.model_validate_json(base64.b64decode(sent.body["properties"]["userData"]))
    assert (data.generation, data.token) == (2, f"{TOKEN}-2")
    steps = [it.operation.removeprefix("VirtualMachines_") for it in arm.journal if it.method != "GET"]
    assert list(dict.fromkeys(steps)) == ["CreateOrUpdate", "Deallocate", "Update", "Start"]


async def test_no_request_is_sent_without_need(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    arm.journal.clear()
    await start(machines, 1, clock)
    await machines.state("s-1")
    assert [it.method for it in arm.journal] == ["GET", "GET"]


async def test_nothing_is_waited_for(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    """Azure takes an hour for each, and every call is back at once: only a caller moves this clock."""
    arm.cloud.latency = 3600
    await machines.begin_start(spec(1))
    assert (await machines.state("s-1")).power is Power.STARTING
    await machines.begin_delete("s-1")
    assert (await machines.state("s-1")).power is Power.STOPPING
    assert not any("operations" in it.path for it in arm.journal)


async def test_lists_are_read_to_their_end(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    for number in range(5):
        await start(machines, 1, clock, f"s-{number}")
    assert {each.session_id for each in await machines.list_all()} == {f"s-{number}" for number in range(5)}


async def test_machines_of_others_are_not_listed(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    await start(machines, 1, clock)
    arm.cloud.vms["nightshift-s-1"].body["tags"] = {"app": "something else"}
    assert await machines.list_all() == []
