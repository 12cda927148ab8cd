"""A session to record: the app's own orchestrator and activities, between a store, a machine and a worker.

Nothing here waits. Everything that a recording holds follows from the story, so recording again gives the same file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

import function_app
from api.doorbell import ORCHESTRATION
from nightshift.errors import Permanent, Retryable
from nightshift.models import (
    ControlKind,
    Effect,
    Failure,
    ItemKind,
    MachineInfo,
    MachineSpec,
    MachineState,
    NewControl,
    NewItem,
    NewReport,
    Power,
    ReportKind,
    Session,
    SessionRequest,
    Tokens,
    TurnUsage,
)
from nightshift.services import Services, build
from nightshift.settings import Settings
from tests.replay.gate import orchestrate, run
from tests.replay.hub import ID, TICK, Clock, Hub
from tests.replay.recording import Recording


class Machines:
    """A provider whose machine starts and stops within one look at it, unless the story says otherwise."""

    def __init__(self) -> None:
        self.machine = MachineState(power=Power.ABSENT)
        self.refusal: Permanent | None = None
        self.boots = True
        self.faults = 0
        """Calls that the provider's API will still fail."""

    async def begin_start(self, spec: MachineSpec) -> None:
        self._call()
        if self.refusal is not None:
            raise self.refusal
        self.machine = MachineState(power=Power.STARTING, generation=spec.generation, stage="booting")

    async def state(self, session_id: str) -> MachineState:
        self._call()
        seen = self.machine
        if seen.power is Power.STARTING:
            self._become(Power.RUNNING if self.boots else Power.FAILED)
        elif seen.power is Power.STOPPING:
            self._become(Power.DEALLOCATED)
        return seen

    async def begin_deallocate(self, session_id: str) -> None:
        self._call()
        if self.machine.power is not Power.ABSENT:
            self._become(Power.STOPPING)

    async def close(self) -> None:
        return None

    async def begin_delete(self, session_id: str) -> None:
        self._call()
        self.machine = MachineState(power=Power.ABSENT)

    async def list_all(self) -> list[MachineInfo]:
        return []

    def die(self) -> None:
        self._become(Power.FAILED)

    def _become(self, power: Power) -> None:
        stage = "worker starting" if power is Power.RUNNING else ""
        failure = Failure(stage="boot", reason="The machine broke.") if power is Power.FAILED else None
        self.machine = MachineState(power=power, generation=self.machine.generation, stage=stage, failure=failure)

    def _call(self) -> None:
        if self.faults:
            self.faults -= 1
            raise Retryable("The provider is busy.")


class Stage:
    """What people and the worker do to one session. Nothing follows from it before `settle` or `wait`."""

    def __init__(self, services: Services, machines: Machines, clock: Clock, recording: Recording) -> None:
        self.machines = machines
        self.recording = recording
        self.calls = Counter[str]()
        """Runs of each activity, failed ones included."""
        self.during: dict[str, Callable[[], Awaitable[None]]] = {}
        """What happens in the middle of the next run of an activity."""
        self._services = services
        self._log = services.log
        self._clock = clock
        self._hub = Hub()
        self._said = self._served = 0  # seq of the newest message
        self._ids = count(1)

    # --- people -----------------------------------------------------------------------------------------

    async def begin(self, message: str = "Fix the parser") -> None:
        request = SessionRequest(message=message)
        now = self._clock.now
        await self._log.create_session(Session(id=ID, owner="ann", request=request, created_at=now, updated_at=now))
        await self._append_message(message)
        self._hub.begin(ORCHESTRATION)

    async def say(self, message: str) -> None:
        await self._append_message(message)
        self.ring("user_message")

    async def control(self, kind: ControlKind) -> None:
        control = NewControl(id=f"control-{next(self._ids)}", kind=kind, at_seq=self._said)
        await self._log.append_control(ID, control)
        self.ring("control")

    # --- the worker -------------------------------------------------------------------------------------

    async def report(self, kind: ReportKind) -> None:
        """What the machine's worker reports; a turn that ends has served every message."""
        ends = kind in (ReportKind.COMPLETED, ReportKind.INTERRUPTED)
        self._served = self._said if ends else self._served
        usage = TurnUsage(turn=self._said, model="gpt-5.2", tokens=Tokens(input=900, output=100, calls=1))
        report = NewReport(
            id=f"report-{next(self._ids)}",
            kind=kind,
            generation=self.machines.machine.generation,
            through_seq=self._served,
            usage=[usage] if ends else [],
        )
        await self._log.record_usage(ID, report.usage)
        await self._log.append_report(ID, report)
        await self._log.beat(ID, report)
        self.ring("worker_report")

    async def show(self, effect: Effect) -> None:
        """A tool output that changes what the session shows."""
        await self._log.append_item(ID, NewItem(id=f"tool-{next(self._ids)}", kind=ItemKind.TOOL_OUTPUT, effect=effect))

    # --- the world --------------------------------------------------------------------------------------

    def ring(self, name: str) -> None:
        self._hub.ring(name)

    async def settle(self) -> None:
        """Until nothing is left to do at this moment."""
        while (item := self._hub.take()) is not None:
            self._clock.now += TICK
            if item.HasField("orchestratorRequest"):
                await self._orchestrate(item)
            else:
                await self._act(item.activityRequest, item.completionToken)

    async def wait(self, **span: float) -> None:
        """Let this time pass (the arguments of a timedelta), with everything that falls into it."""
        until = self._clock.now + timedelta(**span)
        await self.settle()
        while (due := self._hub.next_timer()) is not None and due <= until:
            self._clock.now = max(self._clock.now, due)
            self._hub.fire()
            await self.settle()
        self._clock.now = max(self._clock.now, until)

    async def _orchestrate(self, item: pb.WorkItem) -> None:
        response = await orchestrate(item.orchestratorRequest)
        self.recording.add(item.orchestratorRequest, response)
        response.completionToken = item.completionToken
        self._hub.complete(response)

    async def _act(self, request: pb.ActivityRequest, token: str) -> None:
        self.calls[request.name] += 1
        if request.name in self.during:
            await self.during.pop(request.name)()
        response = pb.ActivityResponse(instanceId=ID, taskId=request.taskId, completionToken=token)
        try:
            response.result.value = await run("activityTrigger", request.name, request.input.value)
        except Retryable as error:
            response.failureDetails.CopyFrom(helpers.new_failure_details(error))
        self._hub.complete(response)

    async def _append_message(self, text: str) -> None:
        new = NewItem(id=f"message-{next(self._ids)}", kind=ItemKind.USER_MESSAGE, text=text, author="ann")
        self._said = (await self._log.append_item(ID, new)).seq


@asynccontextmanager
async def stage(story: str) -> AsyncGenerator[Stage]:
    clock, machines = Clock(), Machines()
    with TemporaryDirectory() as folder, clock.everywhere():
        settings = Settings(data_dir=Path(folder), signing_key="signs the tokens of workers that do not exist")
        services = replace(build(settings), machines=machines)
        with patch.object(function_app, "services", lambda: services):
            yield Stage(services, machines, clock, Recording(story, ID))
        await services.close()
