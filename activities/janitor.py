"""The janitor: compares all machines with all sessions, wakes what was left behind, tells what is still owed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc

from activities.tell import tell_owed
from api.begin import ensure_begun
from api.doorbell import Doorbell
from nightshift import telemetry
from nightshift.errors import Permanent, Retryable
from nightshift.models import ControlKind, MachineInfo, NewControl, Phase, Power, Session
from nightshift.services import Services

type PutAway = Callable[[str], Awaitable[None]]

_log = logging.getLogger(__name__)
_GRACE = timedelta(minutes=1)
"""A session this young may still be on its way through the API."""
_UPLOAD = timedelta(days=1)
"""A session whose first files did not come by then is given up."""


@dataclass
class Findings:
    """What one round did, for the log and the metrics."""

    sessions: int = 0
    machines: int = 0
    removed: int = 0
    woken: int = 0
    faults: int = 0


async def tidy(services: Services, doorbell: Doorbell, now: datetime | None = None) -> Findings:
    """One round. Each finding is dealt with by itself: one that fails is reported and left to the next round."""
    now = now or datetime.now(UTC)
    findings = Findings()
    # Machines first: one that is made while the sessions are read has its session among them.
    machines = await _all_machines(services, findings)
    sessions = await _all_sessions(services)
    findings.machines, findings.sessions = len(machines), len(sessions)
    _measure(machines, sessions)
    for machine in machines:
        put_away = _verdict(services, machine, sessions.get(machine.session_id), now)
        if put_away is None:
            continue
        try:
            await put_away(machine.session_id)
            findings.removed += 1
        except (Retryable, Permanent, OSError) as error:
            findings.faults += 1
            _log.warning("janitor: machine %s could not be removed: %s", machine.name, error)
    for session in sessions.values():
        try:
            if now - session.updated_at <= _GRACE:
                continue
            # Each of these is a no-op where there is nothing to do.
            if await _forgotten(services, session):
                awaited = await ensure_begun(services, doorbell, session)
                if awaited and now - session.created_at < _UPLOAD:
                    continue
                if awaited:  # an upload that was given up: the session ends as if its owner had deleted it
                    never = NewControl(id="files-never-came", kind=ControlKind.DELETE)
                    await services.log.append_control(session.id, never)
                await doorbell.ring(session.id, "control" if awaited else "user_message")
                findings.woken += 1
            elif session.phase in (Phase.WORKING, Phase.WAITING):
                # After the loss of a task hub nobody else would ever put this machine to rest.
                await doorbell.start(session.id)
        except (Retryable, grpc.RpcError) as error:
            findings.faults += 1
            _log.warning("janitor: session %s could not be woken: %s", session.id, type(error).__name__)
    try:
        await tell_owed(services)
    except (Retryable, Permanent) as error:
        findings.faults += 1
        _log.warning("janitor: what is owed could not be told: %s", error)
    if findings.removed or findings.woken or findings.faults:
        _log.info("janitor: %s", findings)
    return findings


def _measure(machines: list[MachineInfo], sessions: dict[str, Session]) -> None:
    """What there is, with zeros: an alert that looks for the least must see that there was none."""
    powers = Counter(machine.power for machine in machines)
    phases = Counter(session.phase for session in sessions.values())
    for power in Power:
        telemetry.machines_now.set(powers[power], {"power": power.value})
    for phase in Phase:
        telemetry.sessions_now.set(phases[phase], {"phase": phase.value})
    telemetry.machines_orphaned.set(sum(machine.session_id not in sessions for machine in machines))


def _verdict(services: Services, machine: MachineInfo, session: Session | None, now: datetime) -> PutAway | None:
    """How to get rid of a machine, or of what one left behind (`absent`); None to leave it alone."""
    if session is None:
        return services.machines.begin_delete
    over = session.phase in (Phase.STOPPED, Phase.FAILED) and now - session.updated_at > _GRACE
    if machine.power is Power.ABSENT:
        return services.machines.begin_delete if over else None
    if machine.power in (Power.DEALLOCATED, Power.STOPPING):
        return None
    # Nobody waits for the machine of a session that is over: a start that came late must not run on.
    return services.machines.begin_deallocate if over or _overdue(machine.started_at, now, services) else None


async def _all_machines(services: Services, findings: Findings) -> list[MachineInfo]:
    try:
        return await services.machines.list_all()
    except (Retryable, Permanent) as error:
        # Sessions are woken all the same.
        findings.faults += 1
        _log.warning("janitor: machines could not be listed: %s", error)
        return []


async def _forgotten(services: Services, session: Session) -> bool:
    """Something was accepted that the projection has not taken up, or the session hangs in a passing phase."""
    if session.phase in (Phase.STARTING, Phase.STOPPING, Phase.DELETING):
        return True
    newest = await services.log.items_before(session.id, 10**12 - 1, limit=50)
    return any(item.kind == "user_message" and item.seq > session.answered_seq for item in newest)


async def _all_sessions(services: Services) -> dict[str, Session]:
    found: dict[str, Session] = {}
    cursor: str | None = None
    while True:
        page, cursor = await services.log.sessions(100, cursor)
        found |= {session.id: session for session in page}
        if cursor is None:
            return found


def _overdue(started_at: datetime | None, now: datetime, services: Services) -> bool:
    limit = services.settings.deadlines.machine_age + _GRACE
    return started_at is not None and now - started_at > limit
