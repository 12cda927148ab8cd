"""Whole sessions by the app's own orchestrator, activities and janitor, with their machines on the local Azure.

    a message, its answer, idle, at rest, another message, its answer, deleted

Each thing that may go wrong goes wrong at each request. Whatever it is, both messages are answered, the session ends,
and nothing of it is left in Azure. The orchestrator runs on Microsoft's in-memory hub, all on one clock that the
story moves (tests/replay/stage.py).
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast, override
from unittest.mock import patch

import pytest
from durabletask.history import HistoryEvent
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

import function_app
from activities.janitor import tidy
from nightshift.errors import NotFound, Permanent
from nightshift.machines.azure import AzureMachines
from nightshift.models import ControlKind, MachineSpec, MachineState, Phase, Power, ReportKind, Session
from nightshift.services import Services, build
from nightshift.settings import Deadlines, Settings
from nightshift.testing.arm import (
    CONFLICT,
    FORBIDDEN,
    GROUP,
    INTERNAL_LATE,
    LOST_ANSWER,
    LOST_REQUEST,
    NO_CAPACITY_LATE,
    QUOTA,
    THROTTLED,
    UNAVAILABLE,
    Arm,
    Fault,
)
from nightshift.testing.cloud import Cloud
from nightshift.testing.contract import Contract, Exchange
from tests.machines.test_azure_sweep import can
from tests.replay.hub import ID, Clock
from tests.replay.stage import Stage

pytestmark = pytest.mark.filterwarnings("ignore:azure.functions :DeprecationWarning")

NAME = f"nightshift-{ID}"
PATIENCE = 600
"""Times 20 seconds, of a clock that nobody waits for, after which a session is called stuck."""


class Town(Stage):
    """A session, its worker wherever its machine runs, and a janitor that comes by every five minutes."""

    def __init__(self, services: Services, arm: Arm, clock: Clock) -> None:
        super().__init__(services, cast(Any, self), clock, cast(Any, self))
        self.services = services
        self.arm = arm
        self.clock = clock
        self._worker = 0

    async def until(self, done: Callable[[Session], bool]) -> None:
        """Let minutes pass until the session is so. A person who is told of a failure tries again."""
        for step in range(PATIENCE):
            try:
                session = await self.services.log.session(ID)
            except NotFound:
                return
            if done(session):
                return
            if session.phase is Phase.FAILED and step % 10 == 9:
                await self.say("Try again")
            await self.wait(seconds=20)
            await self.work()
            if step % 15 == 14:
                await self.tidy()
        raise AssertionError(f"it is stuck: {await self.services.log.session(ID)}")

    async def answered(self) -> None:
        await self.until(lambda session: session.answered_seq >= self._said)

    async def work(self) -> None:
        """What the worker on the machine does, if there is one."""
        self.arm.cloud.settle()
        if self.machine.power is not Power.RUNNING:
            return
        session = await self.services.log.session(ID)
        if session.generation > self.machine.generation:
            return  # the log takes no word of an older start any more
        if self._worker != self.machine.generation:
            self._worker = self.machine.generation
            await self.report(ReportKind.STARTED)
        await self.settle()
        session = await self.services.log.session(ID)
        if session.last_message_seq > session.answered_seq:
            await self.report(ReportKind.COMPLETED)
            await self.settle()

    @override
    async def _act(self, request: pb.ActivityRequest, token: str) -> None:
        try:
            await super()._act(request, token)
        except Permanent as error:
            failed = pb.ActivityResponse(instanceId=ID, taskId=request.taskId, completionToken=token)
            failed.failureDetails.CopyFrom(helpers.new_failure_details(error))
            self._hub.complete(failed)

    async def tidy(self) -> None:
        await tidy(self.services, Bell(self), self.clock.now)
        await self.settle()

    @property
    def machine(self) -> MachineState:
        """What its worker knows of it. (The stage asks for this.)"""
        vm = self.arm.cloud.vms.get(NAME)
        if vm is None or vm.power != "running":
            return MachineState(power=Power.ABSENT)
        data = MachineSpec.model_validate_json(base64.b64decode(vm.body["properties"]["userData"]))
        return MachineState(power=Power.RUNNING, generation=data.generation)

    def add(self, *recorded: object) -> None:
        """Nothing is recorded here."""


class Bell:
    """What the janitor rings."""

    def __init__(self, town: Town) -> None:
        self._town = town

    async def start(self, session_id: str) -> None: ...  # the story began it

    async def knows(self, session_id: str) -> bool:
        return True

    async def ring(self, session_id: str, event: str) -> None:
        self._town.ring(event)

    async def history(self, session_id: str) -> list[HistoryEvent]:
        return []

    def management_urls(self, session_id: str) -> dict[str, str]:
        return {}


@asynccontextmanager
async def town(contract: Contract) -> AsyncGenerator[Town]:
    clock = Clock()
    arm = Arm(Cloud(GROUP, now=lambda: clock.now, latency=8), contract)
    await arm.start()
    with TemporaryDirectory() as folder, clock.everywhere():
        deadlines = Deadlines(idle=timedelta(minutes=4), start=timedelta(minutes=2))
        key = "signs the tokens of workers that do not exist"
        settings = Settings(data_dir=Path(folder), signing_key=key, deadlines=deadlines)
        async with arm.client() as client:
            machines = AzureMachines(arm.settings(ssh_key="ssh-rsa AAAA"), client)
            services = replace(build(settings), machines=machines)
            try:
                with patch.object(function_app, "services", lambda: services):
                    yield Town(services, arm, clock)
            finally:
                await services.close()
                await arm.stop()
    assert arm.problems == []


async def life(it: Town) -> None:
    await it.begin()
    await it.answered()
    await it.until(lambda session: session.phase is Phase.STOPPED)
    await it.say("And the docs?")
    await it.answered()
    await it.control(ControlKind.DELETE)
    await it.until(lambda session: False)


async def judged(it: Town) -> None:
    """After the janitor's next rounds: nothing leaked, nothing doubled."""
    it.arm.before = None
    for _ in range(3):
        await it.wait(minutes=5)
        await it.tidy()
    cloud = it.arm.cloud
    cloud.settle()
    assert (cloud.vms, cloud.disks, cloud.nics) == ({}, {}, {})
    running = False
    for event in cloud.events:
        assert not (running and event.kind == "boot"), "two at once"
        running = event.kind == "boot"


FAULTS = {
    "quota": (QUOTA, 4),
    "no capacity, late": (NO_CAPACITY_LATE, 1),
    "broken, late": (INTERNAL_LATE, 1),
    "slow": (Fault(slow=150), 1),
    "conflict": (CONFLICT, 2),
    "throttled": (THROTTLED, 12),
    "unavailable": (UNAVAILABLE, 3),
    "forbidden": (FORBIDDEN, 1),
    "lost request": (LOST_REQUEST, 2),
    "lost answer": (LOST_ANSWER, 2),
}
"""With the number of requests in a row that it hits."""


@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_at_every_change(contract: Contract, name: str) -> None:
    fault, times = FAULTS[name]
    await at_each(contract, fault, times, lambda it: it.method != "GET")


async def test_a_fault_at_every_look(contract: Contract) -> None:
    """But for those that only repeat the last."""
    last = ""

    def hits(it: Exchange) -> bool:
        nonlocal last
        before, last = last, it.operation
        return it.method == "GET" and it.operation != before

    await at_each(contract, UNAVAILABLE, 3, hits)


async def at_each(contract: Contract, fault: Fault, times: int, hits: Callable[[Exchange], bool]) -> None:
    """One session for each request that the fault may hit."""

    async def one(number: int) -> int:
        """Returns the number of the last request of that sort."""
        count = -1

        async def before(request: Exchange) -> Fault | None:
            nonlocal count
            if not hits(request) or not can(fault, request):
                return None
            count += 1
            return fault if number <= count < number + times else None

        async with town(contract) as it:
            it.arm.before = before
            await life(it)
            await judged(it)
        return count

    number = 0
    while number <= await one(number):
        number += 1
    assert number > 0, "it never hit"


async def test_a_session_whose_spot_machine_is_taken_goes_on(contract: Contract) -> None:
    async with town(contract) as it:
        await it.begin()
        await it.answered()
        it.arm.cloud.vms[NAME].body["properties"]["priority"] = "Spot"
        it.arm.cloud.evict(NAME)
        await it.say("Are you there?")
        await it.answered()
        assert it.machine.generation == 2
        await it.control(ControlKind.DELETE)
        await it.until(lambda session: False)
        await judged(it)


async def test_a_machine_that_runs_for_a_session_at_rest_is_put_to_rest(contract: Contract) -> None:
    """A start whose host was stalled in the middle of it, and went on when the session was over."""
    async with town(contract) as it:
        await it.begin()
        await it.answered()
        await it.until(lambda session: session.phase is Phase.STOPPED)
        await it.services.machines.begin_start(MachineSpec(session_id=ID, generation=1, api_url="", token=""))
        await it.wait(seconds=20)
        assert it.arm.cloud.vms[NAME].power in ("starting", "running")
        await it.wait(minutes=5)
        await it.tidy()
        await it.wait(seconds=20)
        await it.tidy()
        assert it.arm.cloud.vms[NAME].power == "deallocated"


async def test_what_a_lost_machine_left_goes_though_its_session_stays(contract: Contract) -> None:
    async with town(contract) as it:
        await it.begin()
        await it.answered()
        await it.until(lambda session: session.phase is Phase.STOPPED)
        it.arm.cloud.lose(NAME)
        assert len(it.arm.cloud.disks) == len(it.arm.cloud.nics) == 1
        await it.wait(minutes=5)
        await it.tidy()
        assert it.arm.cloud.disks == it.arm.cloud.nics == {}
        await it.say("Are you there?")
        await it.answered()


async def test_sessions_are_woken_though_machines_cannot_be_listed(contract: Contract) -> None:
    async with town(contract) as it:
        await it.begin()
        it.arm.fail("VirtualMachines_List", UNAVAILABLE)
        await it.wait(seconds=100)  # and no worker reports
        findings = await tidy(it.services, Bell(it), it.clock.now)
        assert (findings.faults, findings.woken) == (1, 1)


async def test_a_session_that_begins_during_a_round_keeps_its_machine(contract: Contract) -> None:
    async with town(contract) as it:
        log, read = it.services.log, it.services.log.sessions

        async def read_slowly(*page: Any) -> Any:
            found = await read(*page)
            if not it.arm.cloud.vms:
                await it.begin()
                await it.wait(seconds=1)
                assert it.arm.cloud.vms
            return found

        with patch.object(log, "sessions", read_slowly):
            await it.tidy()
        await it.answered()
        assert [event.kind for event in it.arm.cloud.events] == ["boot"]
