"""What was spent: by day, session, model and owner of a month; as a table, a chart and a file."""

from __future__ import annotations

import asyncio
import calendar
import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.pages.frame import Frame, FrameDep
from api.pages.route import HEADERS, PageRoute
from nightshift.errors import NotFound
from nightshift.log import utc_now
from nightshift.spending import Line, Month, Spent, lines, month_of, spending

router = APIRouter(include_in_schema=False, route_class=PageRoute)
MONTHS = 12
SESSIONS = 20
"""The dearest ones are listed by name."""

type Wanted = Annotated[str | None, Query(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")]


@dataclass(frozen=True)
class Bar:
    """One day of the chart. Heights are shares of the dearest day."""

    day: int
    usd: float
    share: float


@router.get("/cost")
async def show_cost(frame: FrameDep, month: Wanted = None) -> Response:
    now = utc_now()
    month = month or month_of(now)
    bill = await _bill(frame, month)
    by_session = lines(bill.spent, lambda each: each.session)
    return await frame.page(
        "cost.html",
        month=month,
        months=_months(now),
        bill=bill,
        total=next(iter(lines(bill.spent, lambda each: "")), None),
        bars=bars(bill.spent, month),
        by_model=lines(bill.spent, lambda each: each.model),
        by_owner=lines(bill.spent, lambda each: each.owner),
        by_session=by_session[:SESSIONS],
        titles=await _titles(frame, by_session[:SESSIONS]),
        more=max(0, len(by_session) - SESSIONS),
    )


@router.get("/cost.csv")
async def send_csv(frame: FrameDep, month: Wanted = None) -> Response:
    month = month or month_of(utc_now())
    bill = await _bill(frame, month)
    file = io.StringIO()
    writer = csv.writer(file)
    counted = ("input", "cached", "output", "reasoning", "calls")
    writer.writerow(("time", "session", "turn", "owner", "model", *counted, "usd"))
    for each in reversed(bill.spent):
        tokens = (getattr(each.tokens, name) for name in counted)
        usd = "" if each.usd is None else f"{each.usd:.6f}"
        row = (each.at.isoformat(), each.session, each.turn, _cell(each.owner), _cell(each.model), *tokens, usd)
        writer.writerow(row)
    headers = HEADERS | {"Content-Disposition": f'attachment; filename="nightshift-{month}.csv"'}
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


async def _bill(frame: Frame, month: str) -> Month:
    services = frame.services
    return await spending(services.store, month, services.prices, frame.principal.sees)


def bars(spent: list[Spent], month: str) -> list[Bar]:
    """A bar for each day of the month, in UTC."""
    year, number = (int(part) for part in month.split("-"))
    days = dict.fromkeys(range(1, calendar.monthrange(year, number)[1] + 1), 0.0)
    for each in spent:
        days[each.at.astimezone(UTC).day] += each.usd or 0.0
    most = max(days.values()) or 1.0
    return [Bar(day, usd, usd / most) for day, usd in days.items()]


def _months(now: datetime) -> list[str]:
    """The newest first."""
    index = now.year * 12 + now.month - 1
    return [f"{each // 12}-{each % 12 + 1:02}" for each in range(index, index - MONTHS, -1)]


async def _titles(frame: Frame, sessions: list[Line]) -> dict[str, str]:
    """Of those that are still there."""

    async def look(id: str) -> tuple[str, str] | None:
        try:
            return id, (await frame.services.log.session(id)).shown_title
        except NotFound:
            return None

    return dict(filter(None, await asyncio.gather(*(look(line.name) for line in sessions))))


def _cell(text: str) -> str:
    """A spreadsheet takes what begins so for a formula, and runs it."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
