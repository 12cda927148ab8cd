"""The contract of the `Store` port. Every adapter passes it; add yours to `STORES`.

Cosmos DB is a stand-in here (nightshift/testing/emulators). What it does not do: TTL (we use none), the 2 MB limit,
transactional batch (unused), checks of tokens and consistency, more than one physical partition, throttling.
test_cosmos.py checks what of that matters with a gateway that answers as Cosmos DB is documented to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nightshift.errors import Conflict, PreconditionFailed, UserError
from nightshift.ports import NOTHING_ELSE, Find, Order, Store
from tests.nightshift.fresh import STORES, fresh_store


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with fresh_store(request.param, request, tmp_path) as store:
        yield store


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


async def test_of_many_replaces_at_once_one_wins(store: Store) -> None:
    first = await store.create("p", "a", {"n": 0})
    results = await asyncio.gather(*(store.replace(first, {"n": n}) for n in range(1, 21)), return_exceptions=True)
    won = [each for each in results if not isinstance(each, BaseException)]
    assert [type(each) for each in results if isinstance(each, BaseException)] == [PreconditionFailed] * 19
    assert [await store.read("p", "a")] == won


NAMES = ["a", "a b", "a!", "a#b", "a%2Fb", "a-b", "a.b", "a/b", "a0", "a:", "a;", "a<", "a?b", "aA", "a[", "a\\b", "a^"]
LESS_USUAL = [
    "a_",
    "a`",
    "aa",
    "a|b",
    "a~",
    "a\x7f",
    "a\n",
    "aé",
    "a\ue000",
    "a\ufffd",
    "a🌙",
    "a🌙z",
    "AZ",
    "~",
    "\x00",
]


async def test_any_text_is_an_id_and_ids_are_ordered_by_their_bytes(store: Store) -> None:
    for name in NAMES + LESS_USUAL:
        await store.create("p", name, {"name": name})
        assert (await store.read("p", name)) is not None, name
    in_order = sorted(NAMES + LESS_USUAL, key=str.encode)
    assert [each.id for each in await store.range("p", "", "\U0010ffff")] == in_order
    low, high = in_order[4], in_order[-4]
    assert [each.id for each in await store.range("p", low, high)] == in_order[5:-4]
    found = await store.range("p", low, high, newest_first=True)
    assert [each.id for each in found] == [each.body["name"] for each in found] == in_order[5:-4][::-1]
    await store.delete("p", "a/b")
    assert await store.read("p", "a/b") is None


async def test_newest_lists_one_owners_page_by_page(store: Store) -> None:
    owners = ["ann", "ann b", "ann", "bob/1", "ann"]
    for n, owner in enumerate(owners):
        body = {"kind": "session", "created_at": f"2026-01-0{n + 1}", "owner": owner, "n": n}
        await store.create(f"s-{n}", "session", body)

    async def numbers(owner: str, limit: int = 2) -> list[int]:
        page = await store.newest("session", owner=owner, limit=limit)
        found = page.documents
        while page.cursor is not None:
            page = await store.newest("session", owner=owner, limit=limit, cursor=page.cursor)
            found += page.documents
        return [each.body["n"] for each in found]

    assert await numbers("ann") == [4, 2, 0]
    assert await numbers("ann", limit=3) == [4, 2, 0]
    assert await numbers("ann b") == [1]
    assert await numbers("bob/1") == [3]
    assert await numbers("an") == []


async def test_pages_neither_skip_nor_repeat_while_documents_come_and_go(store: Store) -> None:
    async def add(n: int) -> None:
        await store.create(f"s-{n:03}", "session", {"kind": "session", "created_at": f"2026-01-01T00:{n:02}", "n": n})

    for n in range(20):
        await add(n)
    found: list[int] = []
    cursor: str | None = None
    for late in range(20, 40):
        page = await store.newest("session", limit=3, cursor=cursor)
        found += [each.body["n"] for each in page.documents]
        await add(late)
        await store.delete(f"s-{found[-1]:03}", "session")  # what the cursor stands at
        cursor = page.cursor
        if cursor is None:
            break
    assert found == list(range(19, -1, -1))


async def test_range_is_read_on_from_the_last_id_while_documents_are_added(store: Store) -> None:
    found: list[int] = []
    last = "item:"
    for n in range(1, 21):
        await store.create("p", f"item:{2 * n - 1:012}", {"n": 2 * n - 1})
        await store.create("p", f"item:{2 * n:012}", {"n": 2 * n})
        page = await store.range("p", last, "item;", limit=3)
        found += [each.body["n"] for each in page]
        last = page[-1].id if page else last
    assert found == list(range(1, 41))


@pytest.mark.parametrize(
    "text", ["x" * 200_000, "🌙" * 100_000, '"\\\n\x00' * 40_000], ids=["ascii", "moons", "escapes"]
)
async def test_long_texts_come_back_as_they_were(store: Store, text: str) -> None:
    body = {
        "key": "item:1",
        "kind": "session",
        "created_at": "2026-01-01",
        "text": text,
        "raw": {"content": [{"text": "short"}, {"text": text}], "n": None, "long too": ["y" * 33_000]},
    }
    given = json.dumps(body)
    made = await store.create("p", "a", body)
    assert json.dumps(body) == given
    assert made.body == body
    assert await store.read("p", "a") == made == await store.find("p", "item:1")
    assert await store.range("p", "", "z") == [made] == (await store.newest("session")).documents
    changed = await store.replace(made, body | {"text": text + "!"})
    assert await store.read("p", "a") == changed
    changed = await store.replace(changed, body | {"text": "short", "raw": None})
    assert await store.read("p", "a") == changed


async def test_newest_pages_through_what_was_made_at_the_same_time(store: Store) -> None:
    for n in range(5):
        await store.create("keys", f"k-{n}", {"kind": "api_key", "created_at": "2026-01-01", "n": n})
    page = await store.newest("api_key", limit=2)
    found = page.documents
    while page.cursor is not None:
        page = await store.newest("api_key", limit=2, cursor=page.cursor)
        found += page.documents
    assert [each.body["n"] for each in found] == [4, 3, 2, 1, 0]


async def test_a_list_is_narrowed_by_what_documents_say_of_themselves(store: Store) -> None:
    for number in range(12):
        find = {"phase": "working" if number % 3 else "failed", "text": f"task {number} of o'neil_%"}
        if number % 2:
            find["repository"] = "octo/demo"
            find["agent"] = "Reviewer"
        owner = "ann" if number < 8 else "bob"
        body = {"kind": "session", "created_at": f"2026-01-{number + 1:02}", "owner": owner, "find": find}
        await store.create(f"s-{number}", "session", body)
    await store.create("old", "session", {"kind": "session", "created_at": "2025-01-01", "owner": "ann"})

    async def found(find: Find, owner: str | None = None) -> list[int]:
        numbers: list[int] = []
        cursor: str | None = None
        while True:
            page = await store.newest("session", owner=owner, find=find, limit=2, cursor=cursor)
            numbers += [int(document.partition.removeprefix("s-")) for document in page.documents]
            cursor = page.cursor
            if cursor is None:
                return numbers

    assert await found({"phase": "failed"}) == [9, 6, 3, 0]
    assert await found({"phase": "failed"}, "ann") == [6, 3, 0]
    assert await found({"phase": "failed", "repository": "octo/demo"}) == [9, 3]
    assert await found({"agent": "Reviewer"}, "ann") == [7, 5, 3, 1]
    assert await found({"text": "task 1"}) == [11, 10, 1]
    assert await found({"text": "neil_%"}, "bob") == [11, 10, 9, 8]
    assert await found({"text": "nothing of the kind"}) == []
    assert await found({"model": "gpt-5.2"}) == []


async def test_a_list_in_another_order_is_paged_without_gap_or_repeat(store: Store) -> None:
    for number in range(9):
        sort = {
            "active": f"2026-02-{9 - number:02}",
            "cost": f"{number % 3:04}.5",
            "title": f"{'ab é'[number % 4]} {number}",
        }
        body = {"kind": "session", "created_at": f"2026-01-{number + 1:02}", "owner": "ann", "sort": sort}
        await store.create(f"s-{number}", "session", body | {"find": {"phase": "failed" if number % 2 else "waiting"}})
    await store.create("other", "session", {"kind": "session", "created_at": "2025-01-01", "owner": "bob"})

    async def listed(order: Order, owner: str | None = None, find: Find = NOTHING_ELSE) -> list[int]:
        numbers: list[int] = []
        cursor: str | None = None
        while True:
            page = await store.newest("session", owner=owner, find=find, order=order, limit=2, cursor=cursor)
            numbers += [int(document.partition[2:]) for document in page.documents]
            if page.cursor is None:
                return numbers
            cursor = page.cursor

    assert await listed("active") == list(range(9))
    assert await listed("cost") == [8, 5, 2, 7, 4, 1, 6, 3, 0]
    assert await listed("title") == [2, 6, 0, 4, 8, 1, 5, 3, 7]
    assert await listed("cost", "ann", {"phase": "failed"}) == [5, 7, 1, 3]
    assert await listed("title", "bob") == []

    page = await store.newest("session", order="active", limit=4)
    await store.replace(
        moved := page.documents[0], moved.body | {"sort": moved.body["sort"] | {"active": "2026-03-01"}}
    )
    rest = await store.newest("session", order="active", limit=9, cursor=page.cursor)
    assert [document.partition for document in rest.documents] == ["s-4", "s-5", "s-6", "s-7", "s-8"]
    with pytest.raises(UserError, match="cursor"):
        await store.newest("session", order="cost", cursor=page.cursor)
