"""How a start goes when Azure has its own ideas."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.errors import Permanent, Retryable
from nightshift.machines.azure import AzureMachines
from nightshift.models import Power
from nightshift.testing.arm import (
    CONFLICT,
    INTERNAL_LATE,
    LOST_ANSWER,
    NO_CAPACITY,
    NO_CAPACITY_LATE,
    QUOTA,
    THROTTLED,
    Arm,
    Fault,
)
from nightshift.testing.contract import Exchange
from tests.machines.caller import Clock, patiently, spec, start, until, with_settings

NAME = "nightshift-s-1"
SIZES = ("Standard_D4as_v5", "Standard_D4s_v5", "Standard_D4s_v4")


def puts(arm: Arm) -> list[tuple[str, str | None]]:
    """(size, zone) of each attempt to create one."""
    return [
        (it.body["properties"]["hardwareProfile"]["vmSize"], (it.body.get("zones") or [None])[0])
        for it in arm.journal
        if it.method == "PUT"
    ]


# --- no room ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [QUOTA, NO_CAPACITY])
async def test_another_size_is_taken_where_one_is_refused(
    arm: Arm, machines: AzureMachines, clock: Clock, fault: Fault
) -> None:
    arm.fail("VirtualMachines_CreateOrUpdate", fault, times=2)
    await machines.begin_start(spec(1))
    assert puts(arm) == [(size, None) for size in SIZES]
    assert (await until(machines, Power.RUNNING, clock)).generation == 1


async def test_zones_are_tried_before_the_next_size(arm: Arm, clock: Clock) -> None:
    arm.fail("VirtualMachines_CreateOrUpdate", NO_CAPACITY, times=2)
    async with with_settings(arm, zones=("1", "2")) as machines:
        await machines.begin_start(spec(1))
    assert puts(arm) == [(SIZES[0], "1"), (SIZES[0], "2"), (SIZES[1], "1")]


async def test_no_size_left_is_told_with_advice(arm: Arm, machines: AzureMachines) -> None:
    arm.cloud.quota = 3
    with pytest.raises(Permanent, match="quota of cores") as caught:
        await machines.begin_start(spec(1))
    assert "NIGHTSHIFT_VM_SIZES" in caught.value.advice
    assert arm.cloud.vms == arm.cloud.disks == arm.cloud.nics == {}


async def test_an_allocation_that_fails_late_is_told_and_the_next_start_takes_another_size(
    arm: Arm, machines: AzureMachines, clock: Clock
) -> None:
    arm.cloud.full = {SIZES[0]}
    await start(machines, 1, clock)
    failed = await until(machines, Power.FAILED, clock)
    assert failed.generation == 1
    assert failed.failure is not None
    assert "AllocationFailed" in failed.failure.reason
    assert "NIGHTSHIFT_VM_SIZES" in failed.failure.advice
    await start(machines, 1, clock)
    assert (await machines.state("s-1")).power is Power.FAILED, "the same start again changes nothing"
    await start(machines, 2, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 2
    assert arm.cloud.vms[NAME].size == SIZES[1]


@pytest.mark.parametrize("revives", [True, False])
async def test_a_machine_that_never_ran_comes_up_whatever_a_change_does_to_it(
    arm: Arm, machines: AzureMachines, clock: Clock, revives: bool
) -> None:
    arm.cloud.revives = revives
    arm.fail("VirtualMachines_CreateOrUpdate", INTERNAL_LATE)
    await start(machines, 1, clock)
    assert (await until(machines, Power.FAILED, clock)).failure is not None
    await start(machines, 2, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 2


@pytest.mark.parametrize("late", [False, True])
async def test_a_machine_that_rests_moves_to_a_size_that_has_room(
    arm: Arm, machines: AzureMachines, clock: Clock, late: bool
) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    await patiently(lambda: machines.begin_deallocate("s-1"), clock)
    await until(machines, Power.DEALLOCATED, clock)
    (arm.cloud.full if late else arm.cloud.not_sold).add(SIZES[0])
    await start(machines, 2, clock)
    if late:
        await until(machines, Power.FAILED, clock)
        await start(machines, 3, clock)
    await until(machines, Power.RUNNING, clock)
    assert arm.cloud.vms[NAME].size == SIZES[1]
    # And back to the one that the team prefers, once it can be had again.
    arm.cloud.full = arm.cloud.not_sold = set()
    await start(machines, 4, clock)
    await until(machines, Power.RUNNING, clock)
    assert arm.cloud.vms[NAME].size == SIZES[0]


async def test_a_machine_that_rests_and_finds_no_room_at_all_stays_at_rest(
    arm: Arm, machines: AzureMachines, clock: Clock
) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    await patiently(lambda: machines.begin_deallocate("s-1"), clock)
    await until(machines, Power.DEALLOCATED, clock)
    arm.cloud.not_sold = set(SIZES)
    with pytest.raises(Permanent, match="no capacity"):
        await start(machines, 2, clock)
    assert (await machines.state("s-1")).power is Power.DEALLOCATED
    arm.cloud.not_sold = set()
    await start(machines, 3, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 3


async def test_a_failed_start_that_is_put_away_is_down(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    """Else a failed session would wait for its machine to stop for ever."""
    arm.fail("VirtualMachines_CreateOrUpdate", NO_CAPACITY_LATE)
    await start(machines, 1, clock)
    await until(machines, Power.FAILED, clock)
    await patiently(lambda: machines.begin_deallocate("s-1"), clock)
    await until(machines, Power.DEALLOCATED, clock)


# --- conflicts and lost answers ---------------------------------------------------------------------------


async def test_a_create_that_succeeded_though_its_answer_was_lost(
    arm: Arm, machines: AzureMachines, clock: Clock
) -> None:
    arm.fail("VirtualMachines_CreateOrUpdate", LOST_ANSWER)
    with pytest.raises(Retryable):
        await machines.begin_start(spec(1))
    await machines.begin_start(spec(1))
    assert (await until(machines, Power.RUNNING, clock)).generation == 1
    assert [event.kind for event in arm.cloud.events] == ["boot"]
    assert len(arm.cloud.vms) == 1


@pytest.mark.parametrize("operation", ["CreateOrUpdate", "Get", "Deallocate", "Delete"])
async def test_throttling_says_when_to_come_again(
    arm: Arm, machines: AzureMachines, clock: Clock, operation: str
) -> None:
    if operation in ("Deallocate", "Delete"):
        await start(machines, 1, clock)
    calls = {"Deallocate": machines.begin_deallocate, "Delete": machines.begin_delete}
    arm.fail(f"VirtualMachines_{operation}", THROTTLED)
    with pytest.raises(Retryable) as caught:
        await (calls[operation]("s-1") if operation in calls else machines.begin_start(spec(1)))
    assert caught.value.retry_after == 17


async def test_a_conflict_is_waited_out(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    arm.fail("VirtualMachines_Deallocate", CONFLICT, times=3)
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    await patiently(lambda: machines.begin_deallocate("s-1"), clock)
    await until(machines, Power.DEALLOCATED, clock)


async def test_a_disk_left_in_the_way_is_removed(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    arm.cloud.lose(NAME)
    await start(machines, 2, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 2
    assert len(arm.cloud.disks) == 1


@pytest.mark.parametrize("at_rest", [False, True])
async def test_of_two_hosts_with_two_starts_the_newer_wins(arm: Arm, clock: Clock, at_rest: bool) -> None:
    """The slower one looked before, and writes after the other."""
    arm.cloud.latency = 0  # else Azure itself would keep them apart
    async with with_settings(arm, ssh_key="ssh-rsa AAAA") as machines:
        if at_rest:
            await start(machines, 1, clock)
            await machines.begin_deallocate("s-1")

        async def overtake(it: Exchange) -> Fault | None:
            if it.method in ("PUT", "PATCH"):
                arm.before = None
                await start(machines, 3, clock)
            return None

        arm.before = overtake
        await start(machines, 2, clock)
        assert (await machines.state("s-1")).generation == 3
        assert 412 in [it.status for it in arm.journal]
        assert arm.cloud.events[-1].kind == "boot"
        assert len(arm.cloud.vms) == 1


# --- what machines do by themselves -----------------------------------------------------------------------


async def test_an_evicted_machine_says_so_and_comes_back(arm: Arm, clock: Clock) -> None:
    async with with_settings(arm, spot=True) as machines:
        await start(machines, 1, clock)
        await until(machines, Power.RUNNING, clock)
        arm.cloud.evict(NAME)
        evicted = await machines.state("s-1")
        assert evicted.power is Power.DEALLOCATED
        assert evicted.failure is not None
        assert "spot" in evicted.failure.reason
        await start(machines, 2, clock)
        assert (await until(machines, Power.RUNNING, clock)).generation == 2


async def test_a_machine_that_shut_itself_down_is_paid_for_and_so_has_failed(
    arm: Arm, machines: AzureMachines, clock: Clock
) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    arm.cloud.shut_down_from_within(NAME)
    assert (await machines.state("s-1")).power is Power.FAILED
    await start(machines, 2, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 2
    arm.cloud.shut_down_from_within(NAME)
    await patiently(lambda: machines.begin_deallocate("s-1"), clock)
    await until(machines, Power.DEALLOCATED, clock)


async def test_stages_are_told(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    stages: list[str] = []

    async def look() -> None:
        stages.append((await machines.state("s-1")).stage)

    await start(machines, 1, clock)
    await look()
    clock.wait()
    await look()
    await machines.begin_deallocate("s-1")
    await look()
    clock.wait()
    await look()
    await machines.begin_delete("s-1")
    await look()
    assert stages == ["allocating", "worker starting", "deallocating", "deallocated", "deleting machine"]


async def test_the_stage_is_booting_until_the_guest_reports(arm: Arm, machines: AzureMachines, clock: Clock) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    arm.cloud.vms[NAME].booted = None
    assert (await machines.state("s-1")).stage == "booting"


# --- what is left behind ----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["disk", "nic"])
async def test_parts_that_a_deletion_left_are_listed_and_removed(
    arm: Arm, machines: AzureMachines, clock: Clock, part: Any
) -> None:
    arm.cloud.sticky = {part}
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    await machines.begin_delete("s-1")
    await until(machines, Power.ABSENT, clock)
    (left,) = await machines.list_all()
    assert (left.session_id, left.power) == ("s-1", Power.ABSENT)
    await machines.begin_delete("s-1")
    assert await machines.list_all() == []
    assert arm.cloud.disks == arm.cloud.nics == {}


async def test_parts_of_a_machine_that_is_there_are_not_left_behind(
    arm: Arm, machines: AzureMachines, clock: Clock
) -> None:
    await start(machines, 1, clock)
    arm.cloud.disks = dict.fromkeys(arm.cloud.disks)  # made, and not attached yet
    (info,) = await machines.list_all()
    assert info.power is Power.STARTING
    arm.cloud.disks = dict.fromkeys(arm.cloud.disks, arm.cloud.vms[NAME])
