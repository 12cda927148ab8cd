"""The session's log: gap-free seq, idempotent ids, fencing by generation, projections with one writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightshift.errors import Conflict, NotFound, StaleGeneration
from nightshift.log import Log
from nightshift.models import (
    Effect,
    ItemKind,
    NewItem,
    NewReport,
    Phase,
    ReportKind,
    Session,
    SessionRequest,
    Stream,
    Todo,
    Tokens,
    TurnUsage,
    new_id,
)
from nightshift.store.sqlite import SqliteStore
from tests.nightshift.fresh import fresh_store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "cosmos and azurite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    async with fresh_store(request.param, request, tmp_path) as store:
        log = Log(store)
        await log.create_session(session("s-1"))
        yield log


def session(id: str, message: str = "Do it", owner: str = "ann") -> Session:
    return Session(id=id, owner=owner, request=SessionRequest(message=message), created_at=NOW, updated_at=NOW)


def message(text: str, id: str | None = None) -> NewItem:
    return NewItem(id=id or new_id(), kind=ItemKind.USER_MESSAGE, text=text)


def by_worker(text: str, generation: int, id: str | None = None) -> NewItem:
    return NewItem(id=id or new_id(), kind=ItemKind.ASSISTANT_MESSAGE, text=text, generation=generation)


def starting(generation: int) -> NewItem:
    return NewItem(kind=ItemKind.NOTICE, code="machine_starting", generation=generation, text="Starting.")


async def test_appends_at_once_leave_no_gap_and_no_repeat(log: Log) -> None:
    await asyncio.gather(*(log.append_item("s-1", message(str(n))) for n in range(40)))
    items = await log.items("s-1")
    assert [item.seq for item in items] == list(range(1, 41))
    assert {item.text for item in items} == {str(n) for n in range(40)}


async def test_the_same_id_again_is_the_same_item(log: Log) -> None:
    same = await asyncio.gather(*(log.append_item("s-1", message("hi", id="one")) for _ in range(10)))
    assert {item.seq for item in same} == {1}
    await log.append_item("s-1", message("other"))
    assert (await log.append_item("s-1", message("hi", id="one"))).seq == 1
    assert await log.last_seq("s-1", Stream.ITEM) == 2


async def test_an_item_comes_back_as_it_was_sent(log: Log) -> None:
    effect = Effect(title="T", todo=[Todo(text="x", status="done")])
    sent = NewItem(
        kind=ItemKind.TOOL_OUTPUT,
        text="out",
        call_id="c",
        turn=1,
        effect=effect,
        raw={"output": {"type": "x"}},
        is_error=True,
    )
    stored = await log.append_item("s-1", sent)
    assert [stored] == await log.items("s-1")
    assert NewItem.model_validate(stored.model_dump(exclude={"seq", "created_at"})) == sent


async def test_streams_count_apart(log: Log) -> None:
    await log.append_item("s-1", message("a"))
    report = await log.append_report("s-1", NewReport(kind=ReportKind.STARTED, generation=1))
    assert report.seq == 1
    assert (await log.append_item("s-1", message("b"))).seq == 2


async def test_older_items_are_read_from_the_end(log: Log) -> None:
    for n in range(1, 8):
        await log.append_item("s-1", message(str(n)))
    assert [item.seq for item in await log.items_before("s-1", 6, limit=3)] == [3, 4, 5]
    assert [item.seq for item in await log.items("s-1", after=5)] == [6, 7]


async def test_an_older_generation_cannot_write(log: Log) -> None:
    await log.project("s-1", 1, {"generation": 1})
    await log.append_item("s-1", by_worker("first", 1))
    await log.project("s-1", 2, {"generation": 2})
    with pytest.raises(StaleGeneration):
        await log.append_item("s-1", by_worker("late", 1))
    await log.append_item("s-1", by_worker("second", 2))
    assert [item.text for item in await log.items("s-1")] == ["first", "second"]


async def test_a_write_under_way_while_the_generation_changes_is_fenced(tmp_path: Path) -> None:
    """The old worker's request has passed the generation check when the new start is announced."""

    class Interleaved(SqliteStore):
        armed = False

        async def create(self, partition: str, id: str, body: dict[str, object]):  # type: ignore[no-untyped-def]
            if self.armed and body.get("text") == "late":
                self.armed = False
                await log.project("s-1", 2, {"generation": 2})
                await log.append_item("s-1", starting(2))
            return await super().create(partition, id, body)

    store = Interleaved(tmp_path / "store.db")
    log = Log(store)
    await log.create_session(session("s-1"))
    await log.project("s-1", 1, {"generation": 1})
    await log.append_item("s-1", starting(1))
    store.armed = True
    with pytest.raises(StaleGeneration):
        await log.append_item("s-1", by_worker("late", 1))
    assert [item.generation for item in await log.items("s-1")] == [1, 2]
    await store.close()


async def test_a_session_is_created_once_for_equal_requests(log: Log) -> None:
    again = await log.create_session(session("s-1"))
    assert again.request.message == "Do it"
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await log.create_session(session("s-1", message="Do something else"))
    with pytest.raises(Conflict):
        await log.create_session(session("s-1", owner="eve"))


async def test_a_late_projection_never_overwrites_a_newer_one(log: Log) -> None:
    await log.project("s-1", 5, {"phase": Phase.WORKING})
    await log.project("s-1", 4, {"phase": Phase.STARTING})
    await log.project("s-1", 5, {"phase": Phase.FAILED})
    assert (await log.session("s-1")).phase is Phase.WORKING
    await asyncio.gather(*(log.project("s-1", 6 + n, {"turns": n}) for n in range(10)))
    newest = await log.session("s-1")
    assert (newest.revision, newest.turns) == (15, 9)


async def test_usage_recorded_twice_or_late_counts_once(log: Log) -> None:
    early = TurnUsage(turn=1, model="a/b", tokens=Tokens(input=10, output=2, calls=1))
    late = TurnUsage(turn=1, model="a/b", tokens=Tokens(input=30, cached=10, output=5, calls=2))
    other = TurnUsage(turn=2, model="a/b", tokens=Tokens(input=1, calls=1))
    for usage in ([late], [early], [late, other], [early]):
        await log.record_usage("s-1", usage)
    assert await log.usage("s-1") == [late, other]


async def test_a_heartbeat_of_an_older_generation_is_not_heard(log: Log) -> None:
    assert await log.last_beat("s-1") is None
    await log.beat("s-1", NewReport(kind=ReportKind.PROGRESS, generation=2))
    beat = await log.last_beat("s-1")
    await log.beat("s-1", NewReport(kind=ReportKind.PROGRESS, generation=1))
    assert await log.last_beat("s-1") == beat


async def test_purge_leaves_nothing_and_may_be_repeated(log: Log) -> None:
    await log.create_session(session("s-2"))
    await asyncio.gather(*(log.append_item("s-1", message(str(n))) for n in range(30)))
    await log.append_item("s-2", message("stays"))
    await log.purge("s-1")
    await log.purge("s-1")
    with pytest.raises(NotFound):
        await log.session("s-1")
    assert await log.items("s-1") == []
    assert len(await log.items("s-2")) == 1


async def test_sessions_are_listed_newest_first(log: Log) -> None:
    later = session("s-9").model_copy(update={"created_at": datetime(2026, 2, 1, tzinfo=UTC)})
    await log.create_session(later)
    first, cursor = await log.sessions(1)
    second, end = await log.sessions(1, cursor)
    assert ([each.id for each in first + second], end) == (["s-9", "s-1"], None)
