"""What a session's orchestration did since it last continued as new: its activities, and what it waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import grpc
from durabletask.history import (
    EventRaisedEvent,
    HistoryEvent,
    OrchestratorCompletedEvent,
    OrchestratorStartedEvent,
    TaskCompletedEvent,
    TaskFailedEvent,
    TaskScheduledEvent,
    TimerCreatedEvent,
    TimerFiredEvent,
)

from api.doorbell import Doorbell

_log = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds. It may lie in another service, and nothing on the page needs it."""
TURN = 0.2
"""Seconds. Shorter pauses are no waits: they are the time between two turns of the orchestrator."""


@dataclass(frozen=True)
class Step:
    """An activity, or a wait. `ended` is None while it lasts."""

    begun: datetime
    name: str
    """Of an activity; of a wait that is over, what ended it: an event, or `timer`."""
    is_wait: bool = False
    ended: datetime | None = None
    fault: str = ""
    """The type of the error of an activity that failed."""
    due: datetime | None = None
    """When a wait that lasts is over at the latest."""

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else max(0.0, (self.ended - self.begun).total_seconds())

    @property
    def tone(self) -> str:
        if self.is_wait:
            return "wait"
        return "bad" if self.fault else "machine" if self.ended is None else "good"


async def history(doorbell: Doorbell, session_id: str) -> list[Step] | None:
    """The newest first; None if it cannot be read now."""
    try:
        async with asyncio.timeout(PATIENCE):
            return steps(await doorbell.history(session_id))[::-1]
    except (grpc.RpcError, TimeoutError) as error:
        _log.warning("the history of session %s cannot be read: %s", session_id, type(error).__name__)
        return None


def steps(events: Iterable[HistoryEvent]) -> list[Step]:
    """In the order in which they began. Waits are the times in which no activity was under way."""
    found: list[Step] = []
    running: dict[int, int] = {}
    idle: datetime | None = None
    due: datetime | None = None
    for event in events:
        at = event.timestamp.replace(tzinfo=UTC)
        match event:
            case TaskScheduledEvent():
                running[event.event_id] = len(found)
                found.append(Step(at, event.name))
            case TaskCompletedEvent() | TaskFailedEvent() if event.task_scheduled_id in running:
                place = running.pop(event.task_scheduled_id)
                found[place] = replace(found[place], ended=at, fault=_fault(event))
            case EventRaisedEvent() | TimerFiredEvent() if idle and not running:
                name = event.name if isinstance(event, EventRaisedEvent) else "timer"
                if (at - idle).total_seconds() > TURN:
                    found.append(Step(idle, name, is_wait=True, ended=at))
            case TimerCreatedEvent():
                due = event.fire_at.replace(tzinfo=UTC)
            case OrchestratorStartedEvent():
                due = None  # a timer of an earlier turn has fired, or is replaced
                continue  # what it was started for comes after it, and was there before
            case OrchestratorCompletedEvent():
                pass
            case _:
                continue
        idle = at if idle is None else max(idle, at)
    if idle and not running:
        found.append(Step(idle, "", is_wait=True, due=due))
    return found


def _fault(event: TaskCompletedEvent | TaskFailedEvent) -> str:
    """Messages of errors may quote what is no page's business."""
    if isinstance(event, TaskCompletedEvent):
        return ""
    return event.failure_details.error_type.rpartition(".")[2] if event.failure_details else "error"
