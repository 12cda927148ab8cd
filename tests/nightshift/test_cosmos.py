"""Cosmos DB beyond the contract: broken connections, throttling, refusals, what the requests look like, and more
than one physical partition.

The stand-in server has no TTL, 2 MB limit, throttling, consistency, token check, query plan or second partition.
A gateway that answers as the service is documented to (gateway.py) takes its place here.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.errors import Conflict, NightshiftError, Permanent, Retryable, TooLarge, Unprocessable, UserError
from nightshift.ports import Document
from nightshift.store.cosmos import CosmosStore, escape, unescape
from nightshift.testing.emulators.deployed import make_database
from nightshift.testing.emulators.identity import Identity
from tests.nightshift.gateway import Answer, Asked, Gateway, gateway
from tests.nightshift.proxy import Proxy, proxied

THROTTLED = Answer(429, {"code": "429", "message": "Request rate is large"}, {"x-ms-retry-after-ms": "120"})


@given(st.text(), st.text())
def test_escaping_is_reversible_keeps_order_and_leaves_nothing_forbidden(a: str, b: str) -> None:
    assert unescape(escape(a)) == a
    assert (escape(a) < escape(b)) == (a.encode() < b.encode())
    assert (escape(a) < escape(a + b)) == (b != "")
    assert not set(escape(a)) & set("/\\?#%\"' \t\r\n")
    assert escape(a).isascii()


# --- connections that break -----------------------------------------------------------------------------


@pytest.fixture
async def proxy(cosmos_url: str) -> AsyncIterator[Proxy]:
    async with proxied(cosmos_url) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: Proxy) -> AsyncIterator[CosmosStore]:
    store = CosmosStore(proxy.url, Identity(), await make_database(proxy.url))
    await store.read("p", "none")
    yield store
    await store.close()


async def test_a_create_whose_answer_is_lost_is_ours(store: CosmosStore, proxy: Proxy) -> None:
    proxy.cut_answers = 1
    made = await store.create("p", "a", {"n": 1})
    assert proxy.cut_answers == 0
    assert await store.read("p", "a") == made
    with pytest.raises(Conflict):
        await store.create("p", "a", {"n": 1})


async def test_a_replace_whose_answer_is_lost_is_ours(store: CosmosStore, proxy: Proxy) -> None:
    first = await store.create("p", "a", {"n": 1})
    proxy.cut_answers = 1
    second = await store.replace(first, {"n": 2})
    assert proxy.cut_answers == 0
    assert await store.read("p", "a") == second
    assert second.etag != first.etag


@pytest.mark.parametrize("side", ["cut_requests", "cut_answers"])
async def test_one_cut_is_not_noticed(store: CosmosStore, proxy: Proxy, side: str) -> None:
    made = await store.create("p", "a", {"key": "k", "n": 1})
    for call in (lambda: store.read("p", "a"), lambda: store.find("p", "k"), lambda: store.range("p", "", "z")):
        setattr(proxy, side, 1)
        assert await call() in (made, [made])
        assert getattr(proxy, side) == 0
    setattr(proxy, side, 1)
    await store.delete("p", "a")
    assert await store.read("p", "a") is None


@pytest.mark.parametrize("side", ["cut_requests", "cut_answers"])
async def test_when_every_connection_breaks_it_may_be_tried_again(store: CosmosStore, proxy: Proxy, side: str) -> None:
    setattr(proxy, side, 1000)
    with pytest.raises(Retryable, match="Cosmos DB"):
        await store.create("p", "a", {"n": 1})
    setattr(proxy, side, 0)
    found = await store.read("p", "a")
    assert found is None if side == "cut_requests" else found is not None and found.body == {"n": 1}


async def test_creates_at_once_over_breaking_connections_have_one_winner(store: CosmosStore, proxy: Proxy) -> None:
    for round in range(5):
        proxy.cut_answers = 4
        creates = (store.create("p", f"a{round}", {"n": n}) for n in range(10))
        results = await asyncio.gather(*creates, return_exceptions=True)
        won = [each for each in results if isinstance(each, Document)]
        assert all(isinstance(each, Document | Conflict) for each in results)
        assert [await store.read("p", f"a{round}")] == won


async def test_a_service_that_is_away_is_found_when_it_is_back(cosmos_url: str) -> None:
    async with proxied(cosmos_url) as proxy:
        store = CosmosStore(proxy.url, Identity(), await make_database(proxy.url))
        proxy.cut_requests = 1000
        for _ in range(2):
            with pytest.raises(Retryable):
                await store.read("p", "a")
        proxy.cut_requests = 0
        assert await store.read("p", "a") is None
        await store.close()


async def test_a_missing_container_is_no_empty_one(cosmos_url: str) -> None:
    store = CosmosStore(cosmos_url, Identity(), "nowhere")
    with pytest.raises(Permanent, match="nowhere"):
        await store.read("p", "a")
    await store.close()


async def test_a_name_that_is_too_long_is_refused(store: CosmosStore) -> None:
    await store.create("p" * 2048, "a" * 1023, {})
    for partition, id in (("p", "a" * 1024), ("p", "ü" * 200), ("p" * 2049, "a")):
        with pytest.raises(UserError, match="longer"):
            await store.read(partition, id)


# --- a gateway as documented ----------------------------------------------------------------------------


@asynccontextmanager
async def store_at(folder: Path, documents: Callable[[Asked], Answer]) -> AsyncGenerator[tuple[CosmosStore, Gateway]]:
    async with gateway(folder, documents) as there:
        store = CosmosStore(there.url, Identity())
        try:
            yield store, there
        finally:
            await store.close()


def stored(partition: str, id: str, body: dict[str, Any], etag: str = '"1"') -> dict[str, Any]:
    return {"pk": partition, "id": id, "body": body, "_etag": etag, "_rid": "AAAAAAAAAAA=", "write": "x"}


async def test_throttling_is_waited_out_as_long_as_was_asked(tmp_path: Path) -> None:
    answers = [THROTTLED, THROTTLED, Answer(200, stored("p", "a", {"n": 1}))]
    async with store_at(tmp_path, lambda _: answers.pop(0)) as (store, _):
        began = monotonic()
        assert (await store.read("p", "a")) == Document("p", "a", {"n": 1}, '"1"')
        assert monotonic() - began >= 0.24


async def test_throttling_without_end_says_when_to_come_again(tmp_path: Path) -> None:
    async with store_at(tmp_path, lambda _: THROTTLED) as (store, there):
        for call in (lambda: store.read("p", "a"), lambda: store.create("p", "a", {}), lambda: store.newest("k")):
            there.asked.clear()
            with pytest.raises(Retryable, match="Request rate") as raised:
                await call()
            assert raised.value.retry_after == 0.12
            assert len(there.asked) in (4, 16)


@pytest.mark.parametrize(
    ("status", "on_write", "on_read"),
    [
        (400, Unprocessable, Permanent),
        (401, Permanent, Permanent),
        (403, Permanent, Permanent),
        (413, TooLarge, TooLarge),
        (449, Retryable, Retryable),
        (500, Retryable, Retryable),
        (503, Retryable, Retryable),
    ],
)
async def test_refusals_are_told_apart_by_who_must_act(
    tmp_path: Path, status: int, on_write: type[NightshiftError], on_read: type[NightshiftError]
) -> None:
    refusal = Answer(status, {"code": "Refused", "message": "because"})
    async with store_at(tmp_path, lambda _: refusal) as (store, _):
        document = Document("p", "a", {}, '"1"')
        for write in (lambda: store.create("p", "a", {}), lambda: store.replace(document, {})):
            with pytest.raises(on_write, match="because"):
                await write()
        reads = (lambda: store.read("p", "a"), lambda: store.range("p", "", "z"), lambda: store.newest("k"))
        for read in reads:
            with pytest.raises(on_read, match="because"):
                await read()


async def test_an_account_whose_reads_may_be_stale_is_refused(tmp_path: Path) -> None:
    async with store_at(tmp_path, lambda _: Answer(200, stored("p", "a", {}))) as (store, there):
        there.level = "Session"
        for call in (lambda: store.read("p", "a"), lambda: store.create("p", "a", {}), lambda: store.newest("k")):
            with pytest.raises(Permanent, match="consistency level Session"):
                await call()
        assert there.asked == []


async def test_requests_say_what_the_service_needs_to_hear(tmp_path: Path) -> None:
    def documents(asked: Asked) -> Answer:
        if asked.method == "DELETE":
            return Answer(204)
        if "x-ms-documentdb-isquery" in asked.headers:
            return Answer(200, {"Documents": [], "_count": 0})
        return Answer(200, stored("p", "a.2F1", {}))

    async with store_at(tmp_path, documents) as (store, there):
        made = await store.create("p", "a/1", {"key": "k", "text": "ü"})
        await store.read("p", "a/1")
        await store.replace(made, {"kind": "session", "created_at": "2026", "owner": "ann b"})
        await store.delete("p", "a/1")
        await store.range("p", "item:", "item;", limit=7, newest_first=True)
        await store.find("p", "k")
        await store.newest("session", limit=3)
    create, read, replace, delete, range, find, newest = there.asked
    for each in there.asked:
        assert each.headers["x-ms-consistency-level"] == "BoundedStaleness"
        assert each.headers["authorization"].startswith("type%3Daad%26ver%3D1.0%26sig%3D") or each.headers[
            "authorization"
        ].startswith("type=aad&ver=1.0&sig=")
    for each in (create, read, replace, delete, range, find):
        assert json.loads(each.headers["x-ms-documentdb-partitionkey"]) == ["p"]
        assert each.headers.get("x-ms-documentdb-query-enablecrosspartition", "False") != "True"
    assert "x-ms-documentdb-partitionkey" not in newest.headers
    assert newest.headers["x-ms-documentdb-query-enablecrosspartition"] == "True"

    path = "/dbs/nightshift/colls/documents/docs/"
    assert (create.method, create.path) == ("POST", path)
    write = create.body.pop("write")
    assert create.body == {"pk": "p", "id": "a.2F1", "key": "k", "body": {"key": "k", "text": "ü"}}
    assert (read.method, read.path) == ("GET", path + "a.2F1/")
    assert (replace.method, replace.path, replace.headers["if-match"]) == ("PUT", path + "a.2F1/", '"1"')
    assert replace.body.pop("write") != write
    assert replace.body == {
        "pk": "p",
        "id": "a.2F1",
        "body": {"kind": "session", "created_at": "2026", "owner": "ann b"},
        "listed": "session 2026 p a.2F1",
        "owned": "session ann!20b 2026 p a.2F1",
    }
    assert (delete.method, delete.path) == ("DELETE", path + "a.2F1/")
    assert "if-match" not in delete.headers
    assert range.body == {
        "query": "SELECT TOP @limit * FROM c WHERE c.id > @low AND c.id < @high ORDER BY c.id DESC",
        "parameters": [
            {"name": "@limit", "value": 7},
            {"name": "@low", "value": "item:"},
            {"name": "@high", "value": "item;"},
        ],
    }
    assert range.headers["x-ms-max-item-count"] == "7"
    assert find.body["query"] == "SELECT TOP @limit * FROM c WHERE c.key = @key"
    assert newest.body["parameters"][1:] == [
        {"name": "@low", "value": "session "},
        {"name": "@high", "value": "session!"},
    ]


async def test_a_long_answer_is_read_over_its_continuations(tmp_path: Path) -> None:
    """An answer has 4 MB at most."""

    def documents(asked: Asked) -> Answer:
        page = int(asked.headers.get("x-ms-continuation", "0"))
        found = [] if page == 1 else [stored("p", f"a{page}", {"n": page})]  # a page may be empty, and not the last
        more = {"x-ms-continuation": str(page + 1)} if page < 3 else {}
        return Answer(200, {"Documents": found, "_count": len(found)}, more)

    async with store_at(tmp_path, documents) as (store, _):
        assert [each.body["n"] for each in await store.range("p", "", "z")] == [0, 2, 3]


async def test_newest_merges_physical_partitions_in_order(tmp_path: Path) -> None:
    """The gateway cannot order over partitions: it hands out a plan, and the SDK asks each and merges."""
    halves = [[1, 4, 5, 8, 9], [2, 3, 6, 7]]

    def place(n: int) -> str:
        return f"session 2026-{n:02} s-{n} session"

    def documents(asked: Asked) -> Answer:
        given = {each["name"]: each["value"] for each in asked.body["parameters"]} if asked.body else {}
        if "x-ms-cosmos-is-query-plan-request" in asked.headers:
            rewritten = (
                'SELECT TOP @limit c._rid, [{"item": c.listed}] AS orderByItems, c AS payload FROM c '
                "WHERE c.listed > @low AND c.listed < @high AND ({documentdb-formattableorderbyquery-filter}) "
                "ORDER BY c.listed DESC"
            )
            info: dict[str, Any] = {"distinctType": "None", "top": given["@limit"], "offset": None, "limit": None}
            info |= {"orderBy": ["Descending"], "orderByExpressions": ["c.listed"], "aggregates": []}
            info |= {"groupByExpressions": [], "groupByAliases": [], "groupByAliasToAggregateType": {}}
            info |= {"rewrittenQuery": rewritten, "hasSelectValue": False}
            whole = [{"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}]
            plan = {"partitionedQueryExecutionInfoVersion": 2, "queryInfo": info, "queryRanges": whole}
            return Answer(200, plan)
        half = asked.headers.get("x-ms-documentdb-partitionkeyrangeid")
        if half is None:
            why = {"code": "BadRequest", "message": "cannot be served", "additionalErrorInfo": "{}"}
            return Answer(400, why, {"x-ms-substatus": "1004"})
        found = [n for n in sorted(halves[int(half)], reverse=True) if given["@low"] < place(n) < given["@high"]]
        rows = [
            {
                "_rid": "AAAAAAAAAAA=",
                "orderByItems": [{"item": place(n)}],
                "payload": stored(f"s-{n}", "session", {"kind": "session", "created_at": f"2026-{n:02}", "n": n}),
            }
            for n in found[: given["@limit"]]
        ]
        return Answer(200, {"Documents": rows, "_count": len(rows)})

    async with store_at(tmp_path, documents) as (store, there):
        there.ranges = ["", "7F", "FF"]
        found: list[int] = []
        cursor: str | None = None
        for _ in range(5):
            page = await store.newest("session", limit=2, cursor=cursor)
            found += [each.body["n"] for each in page.documents]
            cursor = page.cursor
        assert found == [9, 8, 7, 6, 5, 4, 3, 2, 1]
        assert cursor is None


async def test_a_cursor_of_another_list_is_refused(store: CosmosStore) -> None:
    for owner in ("ann", None):
        with pytest.raises(UserError, match="cursor"):
            await store.newest("session", owner=owner, cursor=base64.b64encode(b"api_key 2026 keys x").decode())
