"""Which items a fragment of the chat shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nightshift.log import Log
from nightshift.models import Item, ItemKind
from nightshift.rows import Row, rows

ITEMS = 200
"""Items of one fragment."""
LOOK_BACK = 5
"""Fragments' worth of items that are searched for the call of an output."""
NEWEST = 10**12 - 1
"""Above every seq; see `nightshift.log.entry_id`."""


@dataclass(frozen=True)
class Part:
    """Rows of one fragment. `more`: there are further items in the direction that was asked for."""

    rows: list[Row]
    first_seq: int
    last_seq: int
    more: bool


async def after(log: Log, session_id: str, seq: int) -> Part:
    items = await log.items(session_id, seq, ITEMS)
    return await _part(log, session_id, items, seq, len(items) == ITEMS)


async def before(log: Log, session_id: str, seq: int) -> Part:
    items = await log.items_before(session_id, seq, ITEMS)
    return await _part(log, session_id, items, 0, bool(items) and items[0].seq > 1)


async def one(log: Log, session_id: str, seq: int) -> Row | None:
    """The row of this item, a call's with its output."""
    items = await log.items(session_id, seq - 1, ITEMS)
    found = rows(items)
    return found[0] if found and found[0].item.seq == seq else None


async def _part(log: Log, session_id: str, items: list[Item], position: int, more: bool) -> Part:
    """The items, and before them the calls that their outputs belong to: a call is shown anew with its output."""
    first, last = (items[0].seq, items[-1].seq) if items else (position, position)
    calls = await _calls(log, session_id, _orphans(items), first)
    return Part(rows([*calls, *items]), first, last, more)


def _orphans(items: Iterable[Item]) -> set[str]:
    """Ids of the calls whose output is among the items, but not they themselves."""
    known, orphans = set[str | None](), set[str]()
    for item in items:
        if item.kind is ItemKind.TOOL_CALL:
            known.add(item.call_id)
        elif item.kind is ItemKind.TOOL_OUTPUT and item.call_id and item.call_id not in known:
            orphans.add(item.call_id)
    return orphans


async def _calls(log: Log, session_id: str, wanted: set[str], before: int) -> list[Item]:
    """The newest call of each wanted id before this seq, in order of seq."""
    found: dict[str, Item] = {}
    for _ in range(LOOK_BACK):
        if before <= 1 or len(found) == len(wanted):
            break
        page = await log.items_before(session_id, before, ITEMS)
        for item in reversed(page):
            if item.kind is ItemKind.TOOL_CALL and item.call_id in wanted:
                found.setdefault(item.call_id, item)
        before = page[0].seq if page else 0
    return sorted(found.values(), key=lambda call: call.seq)
