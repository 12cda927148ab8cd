from datetime import UTC, datetime

import pytest

from embedded.errors import StartError
from embedded.timers import Schedule

START = datetime(2026, 11, 21, 14, 30, 15, 500, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * * *", "2026-11-21 14:30:16"),
        ("0 */5 * * * *", "2026-11-21 14:35:00"),
        ("*/5 * * * *", "2026-11-21 14:35:00"),
        ("15 30 14 * * *", "2026-11-22 14:30:15"),
        ("0 30 9 * * Mon-Fri", "2026-11-23 09:30:00"),
        ("0 0 0 1 jan *", "2027-01-01 00:00:00"),
        ("0 0 0 * January Monday", "2027-01-04 00:00:00"),
        ("0 5/20 15 * * *", "2026-11-21 15:05:00"),
        ("0 0 12 13 * fri", "2027-08-13 12:00:00"),
        ("10,40 0 8-10/2 * * *", "2026-11-22 08:00:10"),
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("01:30:00", "2026-11-21 16:00:15"),
        ("1.00:00:00", "2026-11-22 14:30:15"),
    ],
)
def test_next(schedule: str, expected: str) -> None:
    assert Schedule(schedule).next(START).strftime("%Y-%m-%d %H:%M:%S") == expected


@pytest.mark.parametrize(
    "schedule",
    [
        *("", "* * *", "60 * * * * *", "0 0 0 30 2 *", "*/0 * * * * *", "0 0 9-5 * * *", "a * * * * *", "00:00:00"),
        *("0 0 0 L * *", "0 0 0 LW * *", "0 0 0 * * 5L", "0 0 0 * * mon#1", "0 0 0 31 feb-apr/2 mon", "1:2"),
    ],
)
def test_mistakes_are_reported(schedule: str) -> None:
    with pytest.raises(StartError, match="schedule"):
        Schedule(schedule)
