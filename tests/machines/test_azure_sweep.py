"""A machine's whole life, with each thing that can go wrong at each request, and with another host at each request.

A host that dies in the middle of a call is the same to Azure as one whose connection breaks there: what was done is
done, the rest of the call never comes, and whoever goes on knows nothing but what Azure says.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from azure.mgmt.compute.aio import ComputeManagementClient

from nightshift.errors import Permanent, Retryable
from nightshift.lifecycle import DOWN
from nightshift.machines.azure import AzureMachines
from nightshift.models import MachineInfo, MachineSpec, Power
from nightshift.testing.arm import (
    CONFLICT,
    FORBIDDEN,
    GROUP,
    HALF_AN_ANSWER,
    INTERNAL_LATE,
    LOST_ANSWER,
    LOST_REQUEST,
    NO_CAPACITY,
    NO_CAPACITY_LATE,
    QUOTA,
    SLOW,
    THROTTLED,
    Arm,
    Fault,
)
from nightshift.testing.cloud import Cloud
from nightshift.testing.contract import Contract, Exchange
from tests.machines.caller import Clock, patiently, spec

ALLOCATES = {"VirtualMachines_CreateOrUpdate", "VirtualMachines_Start"}
GENERATIONS = 12
"""More than a life with faults may need."""


class Life:
    """What an orchestration and the janitor do with one machine. No step remembers more than the generation."""

    def __init__(self, arm: Arm, client: ComputeManagementClient, clock: Clock) -> None:
        self.generation = 0
        self.left: list[MachineInfo] = []
        self._arm = arm
        self._client = client
        self._clock = clock

    async def live(self) -> None:
        await self.run()
        await self.rest()
        await self.run()
        await self.run()  # the worker was lost: its machine still runs
        await self.end()

    async def run(self) -> None:
        """Start it until it runs, each time as a new generation."""
        while self.generation < GENERATIONS:
            self.generation += 1
            try:
                await patiently(lambda: self.machines.begin_start(spec(self.generation)), self._clock)
            except Permanent:
                continue  # a person was told, and said something
            if await self._comes({Power.RUNNING}, but={Power.FAILED, Power.ABSENT}):
                return
        raise AssertionError("it never runs")

    async def rest(self) -> None:
        for _ in range(5):
            await self._insist(lambda: self.machines.begin_deallocate("s-1"))
            if await self._comes(DOWN, but={Power.FAILED}):
                return
        raise AssertionError("it never rests")

    async def end(self) -> None:
        """The session's own deletion, then the janitor's rounds."""
        await self._insist(lambda: self.machines.begin_delete("s-1"))
        for _ in range(4):
            self._clock.wait(60)
            await self._insist(self.sweep)
            if not self.left:
                return

    async def sweep(self) -> None:
        self.left = await self.machines.list_all()
        for machine in self.left:
            await self.machines.begin_delete(machine.session_id)

    @property
    def machines(self) -> AzureMachines:
        """A host that was just started."""
        return AzureMachines(self._arm.settings(ssh_key="ssh-rsa AAAA"), self._client)

    async def _comes(self, wanted: set[Power], but: set[Power]) -> bool:
        for _ in range(40):
            try:
                seen = await self.machines.state("s-1")
            except (Retryable, Permanent):
                continue
            finally:
                self._clock.wait()
            if seen.power is Power.RUNNING:
                assert seen.generation == boots(self._arm)[-1], "it runs what it says it runs"
            if seen.power in wanted and (seen.power is not Power.RUNNING or seen.generation >= self.generation):
                return True
            if seen.power in but:
                return False
        return False

    async def _insist(self, call: Callable[[], Awaitable[None]]) -> None:
        for _ in range(5):
            try:
                return await patiently(call, self._clock)
            except Permanent:
                self._clock.wait(60)
        raise AssertionError("it is refused for ever")


def judge(arm: Arm, again: bool) -> None:
    """Nothing leaked, nothing doubled, and no worker of an older start after a newer one's.

    `again`: starts are repeated late. One whose machine was put to rest meanwhile runs once more, one whose machine
    was deleted makes it anew: the log fences such a worker out, and the janitor takes its machine away.
    """
    assert arm.problems == []
    assert (arm.cloud.vms, arm.cloud.disks, arm.cloud.nics) == ({}, {}, {})
    running = False
    for event in arm.cloud.events:
        assert not (running and event.kind == "boot"), "two at once"
        running = event.kind == "boot"
    generations = boots(arm)
    assert again or generations == sorted(set(generations)), "none twice, none after a newer one"


def boots(arm: Arm) -> list[int]:
    """The generation that each boot of a machine was told."""
    events = [event for event in arm.cloud.events if event.kind == "boot"]
    return [MachineSpec.model_validate_json(base64.b64decode(event.user_data)).generation for event in events]


type Meddle = Callable[[Arm, ComputeManagementClient, Exchange, int], Awaitable[Fault | None]]


async def one_life(contract: Contract, meddle: Meddle, again: bool = False) -> int:
    """`meddle` is called before each request with its number. Returns the number of the last."""
    clock = Clock()
    arm = Arm(Cloud(GROUP, now=clock, latency=3), contract)
    count = -1

    async def before(it: Exchange) -> Fault | None:
        nonlocal count
        count += 1
        return await meddle(arm, client, it, count)

    await arm.start()
    try:
        async with arm.client() as client:
            arm.before = before
            life = Life(arm, client, clock)
            await life.live()
            arm.before = None
            await life.end()
    finally:
        await arm.stop()
    judge(arm, again)
    return count


FAULTS = {
    "quota": QUOTA,
    "no capacity": NO_CAPACITY,
    "no capacity, late": NO_CAPACITY_LATE,
    "broken, late": INTERNAL_LATE,
    "conflict": CONFLICT,
    "throttled": THROTTLED,
    "forbidden": FORBIDDEN,
    "lost request": LOST_REQUEST,
    "lost answer": LOST_ANSWER,
    "half an answer": HALF_AN_ANSWER,
    "slow": SLOW,
}


LASTS = ["conflict", "lost request", "lost answer", "broken, late"]


@pytest.mark.parametrize(("name", "times"), [(name, 1) for name in FAULTS] + [(name, 3) for name in LASTS])
async def test_every_fault_at_every_request(contract: Contract, name: str, times: int) -> None:
    fault = FAULTS[name]

    async def one(number: int) -> int:
        hit = -1

        async def meddle(arm: Arm, client: ComputeManagementClient, it: Exchange, count: int) -> Fault | None:
            nonlocal hit
            if not can(fault, it):
                return None
            hit += 1
            return fault if number <= hit < number + times else None

        await one_life(contract, meddle)
        return hit

    await at_each(one)


async def at_each(one: Callable[[int], Awaitable[int]]) -> None:
    """`one` life for each number up to that of its last request, which it returns."""
    number = 0
    while number <= await one(number):
        number += 1
    assert number > 2, "a life has more requests"


def can(fault: Fault, it: Exchange) -> bool:
    """Whether Azure may do this to such a request."""
    if fault in (QUOTA, NO_CAPACITY, NO_CAPACITY_LATE):
        return it.operation in ALLOCATES
    if fault.late or fault.slow or fault.status == 409:
        return it.method != "GET"
    return True


OTHERS = ["same start", "first start", "begin_deallocate", "begin_delete", "sweep", "state"]


@pytest.mark.parametrize("other", OTHERS)
async def test_another_host_between_any_two_requests(contract: Contract, other: str) -> None:
    """It believes the same: the same start, or, like a late repeat, that the machine is to rest or go."""

    async def one(number: int) -> int:
        busy = False

        async def meddle(arm: Arm, client: ComputeManagementClient, it: Exchange, count: int) -> Fault | None:
            nonlocal busy
            if count != number or busy:
                return None
            busy = True
            life = Life(arm, client, Clock())
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "same start": lambda: life.machines.begin_start(spec(generation_of(arm))),
                "first start": lambda: life.machines.begin_start(spec(1)),
                "begin_deallocate": lambda: life.machines.begin_deallocate("s-1"),
                "begin_delete": lambda: life.machines.begin_delete("s-1"),
                "sweep": life.sweep,
                "state": lambda: life.machines.state("s-1"),
            }
            with suppress(Retryable):  # it would come again, and may as well not
                await calls[other]()
            return None

        return await one_life(contract, meddle, again=other.endswith("start"))

    await at_each(one)


def generation_of(arm: Arm) -> int:
    tags = [vm.body["tags"] for vm in arm.cloud.vms.values()]
    return int(tags[0]["nightshift-generation"]) if tags else 1
