"""The task hub of a session to record: Microsoft's own, in memory, on a clock that only the story moves."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self, override
from unittest.mock import patch

from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.testing import in_memory_backend
from durabletask.testing.in_memory_backend import InMemoryOrchestrationBackend, OrchestrationInstance
from google.protobuf.wrappers_pb2 import StringValue

import function_app
import nightshift.log

ID = "s-1"
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
TICK = timedelta(milliseconds=20)
"""What each work item takes: no two moments of a session are the same."""

_CALL: Any = None
"""The gRPC context of calls that do not fail."""
_INPUT = StringValue(value=f'{{"session_id": "{ID}"}}')
"""What the API sends with a start and with each bell."""


class Clock:
    def __init__(self) -> None:
        self.now = START

    @contextmanager
    def everywhere(self) -> Generator[None]:
        """This clock is the hub's, the store's and the activities'. The orchestrator has none but its history."""
        clock = self

        class Now(datetime):
            @override
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return cls.fromtimestamp(clock.now.timestamp(), tz)

        with (
            patch.object(in_memory_backend, "datetime", Now),
            patch.object(function_app.activities, "datetime", Now),
            patch.object(nightshift.log, "utc_now", lambda: clock.now),
        ):
            yield


class Hub(InMemoryOrchestrationBackend):
    """Microsoft's hub, called without a wire. Its timers wait here, not in threads, until the story fires them."""

    def __init__(self) -> None:
        super().__init__()
        self._timers: list[tuple[datetime, pb.HistoryEvent]] = []

    @override
    def _process_create_timer_action(self, instance: OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        fire_at = action.createTimer.fireAt.ToDatetime()
        instance.history.append(helpers.new_timer_created_event(action.id, fire_at))
        self._timers.append((fire_at.replace(tzinfo=UTC), helpers.new_timer_fired_event(action.id, fire_at)))

    def begin(self, orchestration: str) -> None:
        self.StartInstance(pb.CreateInstanceRequest(instanceId=ID, name=orchestration, input=_INPUT), _CALL)

    def ring(self, event: str) -> None:
        self.RaiseEvent(pb.RaiseEventRequest(instanceId=ID, name=event, input=_INPUT), _CALL)

    def complete(self, response: pb.OrchestratorResponse | pb.ActivityResponse) -> None:
        if isinstance(response, pb.ActivityResponse):
            self.CompleteActivityTask(response, _CALL)
            return
        if any(action.HasField("completeOrchestration") for action in response.actions):
            self._timers.clear()  # as on Azure: a timer belongs to one execution
        self.CompleteOrchestratorTask(response, _CALL)

    def next_timer(self) -> datetime | None:
        return min((fire_at for fire_at, _ in self._timers), default=None)

    def fire(self) -> None:
        """The next timer, though it may have been cancelled: a hub does not know."""
        timer = min(self._timers, key=lambda each: each[0])
        self._timers.remove(timer)
        self._instances[ID].pending_events.append(timer[1])
        self._enqueue_orchestration(ID)

    def take(self) -> pb.WorkItem | None:
        self._work_available.set()  # what is there is all there is: the hub need not wait for more
        looks: Any = _OneLook()
        return next(self.GetWorkItems(pb.GetWorkItemsRequest(), looks), None)


class _OneLook:
    """The gRPC context of a worker that hangs up as soon as the hub has nothing for it."""

    def __init__(self) -> None:
        self._looks = 0

    def is_active(self) -> bool:
        self._looks += 1
        return self._looks == 1
