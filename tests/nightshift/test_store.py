"""The contract of the `Store` port. Every adapter passes it; add yours to `stores`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nightshift.errors import Conflict, PreconditionFailed, UserError
from nightshift.ports import Store
from nightshift.store.sqlite import SqliteStore


@pytest.fixture(params=["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = {"sqlite": SqliteStore}[request.param](tmp_path / "store.db")
    yield store
    await store.close()


async def test_what_was_created_is_read(store: Store) -> None:
    made = await store.create("p", "a", {"text": "grüße 🌙", "n": [1, {"x": None}]})
    assert await store.read("p", "a") == made
    assert await store.read("p", "b") is None
    assert await store.read("q", "a") is None


async def test_a_second_create_conflicts_and_changes_nothing(store: Store) -> None:
    made = await store.create("p", "a", {"n": 1})
    with pytest.raises(Conflict):
        await store.create("p", "a", {"n": 2})
    assert await store.read("p", "a") == made
    await store.create("q", "a", {"n": 3})


async def test_replace_needs_the_newest_etag(store: Store) -> None:
    first = await store.create("p", "a", {"n": 1})
    second = await store.replace(first, {"n": 2})
    assert second.etag != first.etag
    with pytest.raises(PreconditionFailed):
        await store.replace(first, {"n": 3})
    assert (await store.read("p", "a")) == second
    await store.delete("p", "a")
    with pytest.raises(PreconditionFailed):
        await store.replace(second, {"n": 4})
    assert await store.read("p", "a") is None


async def test_delete_may_be_repeated(store: Store) -> None:
    await store.create("p", "a", {})
    await store.delete("p", "a")
    await store.delete("p", "a")
    assert await store.read("p", "a") is None


async def test_range_is_ordered_exclusive_and_limited_to_its_partition(store: Store) -> None:
    for n in (3, 1, 2, 10):
        await store.create("p", f"item:{n:012d}", {"n": n})
    await store.create("p", "report:000000000001", {"n": 99})
    await store.create("q", "item:000000000004", {"n": 98})

    async def numbers(low: str, high: str, limit: int = 100, newest_first: bool = False) -> list[int]:
        found = await store.range("p", low, high, limit=limit, newest_first=newest_first)
        return [document.body["n"] for document in found]

    assert await numbers("item:", "item;") == [1, 2, 3, 10]
    assert await numbers("item:000000000002", "item;") == [3, 10]
    assert await numbers("item:", "item:000000000003") == [1, 2]
    assert await numbers("item:", "item;", limit=2) == [1, 2]
    assert await numbers("item:", "item;", limit=2, newest_first=True) == [10, 3]


async def test_find_looks_up_the_client_made_id_in_its_partition(store: Store) -> None:
    made = await store.create("p", "a", {"key": "item:x"})
    await store.create("q", "a", {"key": "item:y"})
    assert await store.find("p", "item:x") == made
    assert await store.find("p", "item:y") is None
    assert await store.find("p", "' OR 1=1 --") is None


async def test_newest_lists_a_kind_over_partitions_page_by_page(store: Store) -> None:
    for n in range(5):
        await store.create(f"s-{n}", "session", {"kind": "session", "created_at": f"2026-01-0{n % 3 + 1}", "n": n})
        await store.create(f"s-{n}", "other", {"created_at": "2026-02-01", "n": 100})
    found: list[int] = []
    cursor: str | None = None
    while True:
        page = await store.newest("session", limit=2, cursor=cursor)
        found += [document.body["n"] for document in page.documents]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == [2, 4, 1, 3, 0]
    assert (await store.newest("nothing")).documents == []


@pytest.mark.parametrize("cursor", ["nonsense", "", "e30=", "bnVsbA=="])
async def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(UserError, match="cursor"):
        await store.newest("session", cursor=cursor)


async def test_of_many_creates_at_once_one_wins(store: Store) -> None:
    results = await asyncio.gather(*(store.create("p", "a", {"n": n}) for n in range(20)), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in results) == 1
    assert all(isinstance(each, Conflict) for each in results if isinstance(each, BaseException))
