"""The bill: every usage entry under its month, once, also after its session was deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nightshift.log import Log, utc_now
from nightshift.models import Session, SessionRequest, Tokens, TurnUsage
from nightshift.pricing import load_prices
from nightshift.spending import lines, month_of, spending
from nightshift.store.sqlite import SqliteStore

PRICES = load_prices()
MODEL = "gpt-5.2"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "nightshift.db")
    yield store
    await store.close()


async def begin(log: Log, id: str, owner: str) -> None:
    now = utc_now()
    request = SessionRequest(message="Do it")
    session = Session(id=id, owner=owner, owner_name=owner.title(), request=request, created_at=now, updated_at=now)
    await log.create_session(session)


def used(turn: int, input: int, model: str = MODEL) -> TurnUsage:
    return TurnUsage(turn=turn, model=model, tokens=Tokens(input=input, output=10, calls=1))


async def test_a_months_bill_says_who_spent_what_on_which_model(store: SqliteStore) -> None:
    log, month = Log(store), month_of(utc_now())
    await begin(log, "s-1", "ann")
    await begin(log, "s-2", "bob")
    await log.record_usage("s-1", [used(1, 1000), used(1, 500, "mystery")])
    await log.record_usage("s-1", [used(1, 2000), used(3, 4000)])
    await log.record_usage("s-2", [used(1, 1_000_000)])

    bill = await spending(store, month, PRICES)
    assert bill.complete
    by_owner = lines(bill.spent, lambda each: each.owner)
    assert [(line.name, line.tokens.input, line.unpriced) for line in by_owner] == [
        ("Bob", 1_000_000, False),
        ("Ann", 6500, True),
    ]
    assert [line.name for line in lines(bill.spent, lambda each: each.model)] == [MODEL, "mystery"]
    assert {each.session for each in (await spending(store, month, PRICES, "ann")).spent} == {"s-1"}
    assert (await spending(store, "2020-01", PRICES)).spent == []


async def test_deleting_a_session_changes_no_bill_however_often_it_is_begun(store: SqliteStore) -> None:
    log, month = Log(store), month_of(utc_now())
    await begin(log, "s-1", "ann")
    await log.record_usage("s-1", [used(1, 1000), used(3, 500)])
    before = await spending(store, month, PRICES)

    deleted = store.delete
    calls = 0

    async def die(partition: str, id: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("the process died after the entry was copied")
        await deleted(partition, id)

    store.delete = die  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await log.purge("s-1")
    assert sorted(map(str, (await spending(store, month, PRICES)).spent)) == sorted(map(str, before.spent))
    await log.purge("s-1")
    assert sorted(map(str, (await spending(store, month, PRICES)).spent)) == sorted(map(str, before.spent))
    assert await store.range("s-1", "", "~") == []


async def test_usage_from_before_there_were_bills_is_still_counted_for_its_session(store: SqliteStore) -> None:
    log = Log(store)
    await begin(log, "s-1", "ann")
    await store.create("s-1", f"usage:{1:012d}:{MODEL}", used(1, 1000).model_dump(mode="json"))
    await log.record_usage("s-1", [used(1, 3000)])
    assert [entry.tokens.input for entry in await log.usage("s-1")] == [3000]
    await log.purge("s-1")
