"""Timer triggers: schedules, in UTC, and a task per function that sleeps until the next occurrence and calls it."""

import asyncio
import json
import logging
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, TypeAdapter
from pydantic.alias_generators import to_pascal

from embedded.errors import StartError
from embedded.invocation import Invoker, decode
from embedded.loader import Function
from embedded.tasks import Tasks

logger = logging.getLogger(__name__)

LONGEST_SLEEP = timedelta(minutes=1)  # the clock may be set while we sleep
_SPAN = re.compile(r"(?:(?P<days>\d+)\.)?(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)")
_CRON = re.compile(r"(?:[\d\s*,/-]|[A-Za-z]{3})+")  # Debian's L, W and # are not NCRONTAB


class Schedule:
    """NCRONTAB of six fields (five: without seconds) or a TimeSpan `[d.]hh:mm:ss`. Raises StartError."""

    def __init__(self, text: str) -> None:
        span = _SPAN.fullmatch(text)
        self._every = timedelta(**{unit: int(count or 0) for unit, count in span.groupdict().items()}) if span else None
        self._fields = re.sub(r"([A-Za-z]{3})[A-Za-z]+", r"\1", text)  # Azure knows full names of days and months too
        try:
            if not (self._every if span else _CRON.fullmatch(self._fields)):
                raise ValueError("it does not say when")
            self.next(datetime.now(UTC))
        except (CronSimError, StopIteration, ValueError) as error:
            raise StartError(f"schedule '{text}': {error or 'it is never due'}") from None

    def next(self, after: datetime) -> datetime:
        """The first occurrence later than `after`."""
        if self._every:
            return after + self._every
        cron = CronSim(self._fields, after.astimezone(UTC))
        cron.day_and = True  # of day and day of week Debian's cron wants either, NCRONTAB both
        return next(cron)


class Status(BaseModel, alias_generator=to_pascal, validate_by_name=True, serialize_by_alias=True):
    """What Azure keeps of a timer, and the schedule that it is of."""

    schedule: str
    last: datetime = datetime.min.replace(tzinfo=UTC)
    next: datetime
    last_updated: datetime


class Timers:
    """Runs the app's timer functions. A function's runs never overlap; those it missed become one, past due.

    With a `file`, also those it missed while the host was down. A status is written after its run: a run that was cut
    short comes again, one that ended does not.
    """

    _content = TypeAdapter(dict[str, Status])

    def __init__(self, functions: Iterable[Function], invoker: Invoker, file: Path | None) -> None:
        self._invoker = invoker
        self._timers = [(each, Schedule(each.target)) for each in functions if each.kind == "timer"]
        self._file = file
        try:
            self._kept = self._content.validate_json(file.read_bytes()) if file and file.exists() else {}
        except (OSError, ValueError):
            raise StartError(f"{file} is damaged; delete it, and its timers start afresh") from None
        self._schedules, self._runs = Tasks(), Tasks()

    def start(self) -> None:
        for function, schedule in self._timers:
            self._schedules.begin(self._serve(function, schedule))

    async def drain(self, seconds: float) -> None:
        """Begin no more runs, and let those under way end; after `seconds` cancel them."""
        await self._schedules.drain(0)
        await self._runs.drain(seconds)

    async def _serve(self, function: Function, schedule: Schedule) -> None:
        now = datetime.now(UTC)
        status = None if function.trigger.use_monitor is False else self._kept.get(function.name)
        if status is None or status.schedule != function.target:
            status = Status(schedule=function.target, next=schedule.next(now), last_updated=now)
            self._keep(function, status)
        at_once = bool(function.trigger.run_on_startup)
        while True:
            past_due = status.next < datetime.now(UTC)
            while not at_once and (wait := status.next - datetime.now(UTC)) > timedelta():  # noqa: ASYNC110
                await asyncio.sleep(min(wait, LONGEST_SLEEP).total_seconds())
            at_once, began = False, datetime.now(UTC)
            timer = json.dumps({"IsPastDue": past_due, "ScheduleStatus": status.model_dump(mode="json")})
            status = Status(schedule=function.target, last=began, next=schedule.next(began), last_updated=began)
            await asyncio.wait([self._runs.begin(self._fire(function, timer, status))])

    async def _fire(self, function: Function, timer: str, after: Status) -> None:
        try:
            await self._invoker.invoke(function, decode("timerTrigger", timer))
        except Exception:
            logger.exception("timer function %s failed", function.name)
        self._keep(function, after)

    def _keep(self, function: Function, status: Status) -> None:
        if self._file and function.trigger.use_monitor is not False:
            self._kept[function.name] = status
            draft = self._file.with_name(f"{self._file.name}.new")
            try:
                with draft.open("wb") as content:
                    content.write(self._content.dump_json(self._kept, indent=2))
                    content.flush()
                    os.fsync(content.fileno())  # or a power failure may leave an empty file under the name
                draft.replace(self._file)
            except OSError:
                logger.exception("%s cannot be written: if the host dies now, %s may come again", draft, function.name)
