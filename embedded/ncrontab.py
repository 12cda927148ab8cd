"""NCRONTAB schedules of timer triggers: {second} {minute} {hour} {day} {month} {day of week}, in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from embedded.errors import StartError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_HORIZON_DAYS = 366 * 8 + 1  # a schedule for 29 February may wait eight years (around 2100)


class Schedule(Protocol):
    def next(self, after: datetime) -> datetime:
        """The first occurrence later than `after`."""
        ...


@dataclass(frozen=True, slots=True)
class Cron:
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday

    def next(self, after: datetime) -> datetime:
        moment = after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        day = moment.replace(hour=0, minute=0, second=0)
        for _ in range(_HORIZON_DAYS):
            if day.day in self.days and day.month in self.months and day.isoweekday() % 7 in self.weekdays:
                for hour in self.hours:
                    for minute in self.minutes:
                        if (minute_start := day.replace(hour=hour, minute=minute)) + timedelta(minutes=1) <= moment:
                            continue
                        for second in self.seconds:
                            if (found := minute_start.replace(second=second)) >= moment:
                                return found
            day += timedelta(days=1)
        raise ValueError("the schedule has no occurrence")


@dataclass(frozen=True, slots=True)
class Interval:
    every: timedelta

    def next(self, after: datetime) -> datetime:
        return after + self.every


def parse_schedule(text: str) -> Schedule:
    """Parse six fields, five (no seconds), or a TimeSpan `[d.]hh:mm:ss`. Raises StartError."""
    try:
        fields = text.split()
        if len(fields) == 1 and text.count(":") == 2:
            return _interval(text.strip())
        if len(fields) == 5:
            fields.insert(0, "0")
        if len(fields) != 6:
            raise ValueError("six fields or a TimeSpan are needed")
        second, minute, hour, day, month, weekday = fields
        cron = Cron(
            tuple(sorted(_field(second, 0, 59))),
            tuple(sorted(_field(minute, 0, 59))),
            tuple(sorted(_field(hour, 0, 23))),
            _field(day, 1, 31),
            _field(month, 1, 12, _MONTHS),
            _field(weekday, 0, 6, _DAYS),
        )
        cron.next(datetime.now(UTC))  # 30 February is a mistake to report now
        return cron
    except ValueError as error:
        raise StartError(f"schedule '{text}': {error}") from error


def _interval(text: str) -> Interval:
    days, _, clock = text.rpartition(".")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    every = timedelta(days=int(days or 0), hours=hours, minutes=minutes, seconds=seconds)
    if every <= timedelta():
        raise ValueError("an interval must be longer than nothing")
    return Interval(every)


def _field(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    def number(word: str) -> int:
        name = word.lower()[:3]
        value = names.index(name) + low if name in names else int(word)
        if not low <= value <= high:
            raise ValueError(f"{value} is not in {low}-{high}")
        return value

    values: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if first == "*":
            start, end = low, high
        else:
            start = number(first)
            end = number(last) if dash else high if slash else start
        stride = int(step) if slash else 1
        if stride < 1 or end < start:
            raise ValueError(f"'{part}' is empty")
        values.update(range(start, end + 1, stride))
    return frozenset(values)
