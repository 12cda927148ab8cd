"""What was spent in a month, by whom, on which session and model: the bill.

Every usage entry is listed under the month in which its turn first cost something. When a session is deleted its
entries move to a partition of their month, so that the bill of last month never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightshift.errors import Conflict
from nightshift.models import Session, Tokens, TurnUsage
from nightshift.ports import Document, Store
from nightshift.pricing import PriceTable

MOST = 20_000
"""Entries of one month that are added up; older ones of a busier month are left out, and the page says so."""


@dataclass(frozen=True)
class Spent:
    """One turn's use of one model."""

    session: str
    owner: str
    """For people to read."""
    at: datetime
    model: str
    turn: int
    tokens: Tokens
    usd: float | None
    """None: there is no price for this model."""


@dataclass(frozen=True)
class Line:
    """A sum, such as one session's."""

    name: str
    tokens: Tokens
    usd: float
    """Of what has a price."""
    unpriced: bool
    """Something in it has none."""


@dataclass(frozen=True)
class Month:
    spent: list[Spent]
    complete: bool


def month_of(time: datetime) -> str:
    """2026-11, in UTC."""
    return f"{time:%Y-%m}"


def listing(session: Session, now: datetime) -> dict[str, Any]:
    """What a usage entry carries so that the store lists it."""
    return {
        "kind": _kind(month_of(now)),
        "created_at": now.isoformat(),
        "owner": session.owner,
        "owner_name": session.owner_name,
        "session": session.id,
    }


def usage_of(document: Document) -> TurnUsage:
    body = document.body
    return TurnUsage.model_validate({name: body[name] for name in TurnUsage.model_fields if name in body})


async def keep(store: Store, document: Document) -> None:
    """Before the session of this usage entry is deleted. May be repeated."""
    kind = document.body.get("kind")
    if kind is None:
        return  # written before there were bills
    try:
        await store.create(f"spent-{kind}", f"{document.partition}:{document.id}", document.body)
    except Conflict:
        return  # an earlier try got this far


async def spending(store: Store, month: str, prices: PriceTable, owner: str | None = None) -> Month:
    """Everything of a month, the newest first; everybody's, or one owner's."""
    found: dict[tuple[str, str], Spent] = {}
    cursor: str | None = None
    while len(found) < MOST:
        page = await store.newest(_kind(month), owner=owner, limit=1000, cursor=cursor)
        for document in page.documents:
            # An entry that is being moved is there twice for a moment.
            name = document.id.removeprefix(f"{document.body['session']}:")
            found[document.body["session"], name] = _spent(document, prices)
        cursor = page.cursor
        if cursor is None:
            break
    return Month(list(found.values()), cursor is None)


def lines(spent: Iterable[Spent], by: Callable[[Spent], str]) -> list[Line]:
    """Sums, the dearest first."""
    sums: dict[str, Line] = {}
    for each in spent:
        name = by(each)
        before = sums.get(name, Line(name, Tokens(), 0.0, False))
        tokens, usd = before.tokens + each.tokens, before.usd + (each.usd or 0.0)
        sums[name] = Line(name, tokens, usd, before.unpriced or each.usd is None)
    return sorted(sums.values(), key=lambda line: (-line.usd, -line.tokens.input, line.name))


def _spent(document: Document, prices: PriceTable) -> Spent:
    usage, body = usage_of(document), document.body
    price = prices.find(usage.model)
    return Spent(
        session=body["session"],
        owner=body["owner_name"] or body["owner"],
        at=datetime.fromisoformat(body["created_at"]),
        model=usage.model,
        turn=usage.turn,
        tokens=usage.tokens,
        usd=None if price is None else price.of(usage.tokens, usage.above),
    )


def _kind(month: str) -> str:
    return f"usage-{month}"
