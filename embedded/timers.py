"""Timer triggers: one task per function, which sleeps until the next occurrence and calls it."""

import asyncio
import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from embedded.invocation import Invoker, decode
from embedded.loader import TimerFunction
from embedded.ncrontab import Schedule, parse_schedule
from embedded.settings import resolve

logger = logging.getLogger(__name__)

LONGEST_SLEEP = timedelta(minutes=1)  # the clock may be set while we sleep


class Timers:
    """Runs the app's timer functions. A function's runs never overlap; those it slept through become one, past due."""

    def __init__(self, functions: Iterable[TimerFunction], invoker: Invoker) -> None:
        self._invoker = invoker
        self._timers = [(function, parse_schedule(resolve(function.schedule))) for function in functions]

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            for function, schedule in self._timers:
                group.create_task(self._serve(function, schedule))

    async def _serve(self, function: TimerFunction, schedule: Schedule) -> None:
        last = datetime.now(UTC)
        if function.run_on_startup:
            await self._fire(function, schedule, last, past_due=False)
        while True:
            due = schedule.next(last)
            past_due = due < datetime.now(UTC)
            while (wait := due - datetime.now(UTC)) > timedelta():  # noqa: ASYNC110 - the clock has no event
                await asyncio.sleep(min(wait, LONGEST_SLEEP).total_seconds())
            await self._fire(function, schedule, due, past_due)
            last = max(due, datetime.now(UTC)) if past_due else due

    async def _fire(self, function: TimerFunction, schedule: Schedule, due: datetime, past_due: bool) -> None:
        status = {
            "Last": due.isoformat(),
            "Next": schedule.next(due).isoformat(),
            "LastUpdated": datetime.now(UTC).isoformat(),
        }
        timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        try:
            await self._invoker.invoke(function, decode("timerTrigger", json.dumps(timer)))
        except Exception:
            logger.exception("timer function %s failed", function.name)
