"""What happened in a session's orchestration: who steered it, what its worker reported, newest first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from api.views import SessionView
from nightshift.log import Log
from nightshift.models import Control, Report, ReportKind, Stream

EVENTS = 40
_TONES = {
    ReportKind.STARTED: "machine",
    ReportKind.COMPLETED: "good",
    ReportKind.FAILED: "bad",
    ReportKind.INTERRUPTED: "bad",
}


@dataclass(frozen=True)
class Event:
    """`kind` is a key of the catalogue's timeline."""

    at: datetime
    kind: str
    tone: str
    generation: int = 0
    detail: str = ""


async def events(log: Log, session: SessionView) -> list[Event]:
    """The newest ones. Reports and controls are few; notices stand in the conversation."""
    reports, controls = await asyncio.gather(
        log.newest_entries(session.id, Stream.REPORT, EVENTS), log.newest_entries(session.id, Stream.CONTROL, EVENTS)
    )
    found = [_of_report(report) for report in cast(list[Report], reports)]
    found += [_of_control(control) for control in cast(list[Control], controls)]
    found.sort(key=lambda event: event.at, reverse=True)
    if len(found) < EVENTS:
        found.append(Event(session.created_at, "begun", "person", detail=session.owner_name))
    return found[:EVENTS]


def _of_report(report: Report) -> Event:
    tone = _TONES.get(report.kind, "machine")
    return Event(report.created_at, report.kind, tone, report.generation, report.detail[:300])


def _of_control(control: Control) -> Event:
    return Event(control.created_at, control.kind, "person")
