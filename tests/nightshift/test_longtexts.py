"""Where long texts are: out of the document, in one blob for all documents of the session, gone with it."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightshift.blobs import name_of
from nightshift.blobs.files import FileBlobs
from nightshift.errors import NotFound, Retryable
from nightshift.log import Log
from nightshift.models import ItemKind, NewItem, Session, SessionRequest
from nightshift.ports import Blob
from nightshift.store.longtexts import GONE, LONGEST, LongTexts
from nightshift.store.sqlite import SqliteStore

LONG = "line\n" * 20_000
NAME = name_of(LONG.encode())
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Counting(FileBlobs):
    puts = opens = 0
    away = False

    async def put(self, session_id: str, name: str, content: bytes | AsyncIterable[bytes], content_type: str) -> Blob:
        if self.away:
            raise Retryable("away")
        self.puts += 1
        return await super().put(session_id, name, content, content_type)

    async def open(self, session_id: str, name: str) -> tuple[Blob, AsyncIterator[bytes]] | None:
        self.opens += 1
        return await super().open(session_id, name)


@pytest.fixture
async def inner(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    yield store
    await store.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "blobs")


@pytest.fixture
def store(inner: SqliteStore, blobs: Counting) -> LongTexts:
    return LongTexts(inner, blobs)


async def test_a_long_text_leaves_its_name_behind(store: LongTexts, inner: SqliteStore, blobs: Counting) -> None:
    await store.create("s-1", "a", {"key": "k", "text": LONG, "raw": {"parts": ["x", LONG]}})
    found = await inner.read("s-1", "a")
    assert found is not None
    places = [[["text"], NAME], [["raw", "parts", 1], NAME]]
    assert found.body == {"key": "k", "text": "", "raw": {"parts": ["x", ""]}, "$long": places}
    assert await blobs.list("s-1") == [NAME]


@pytest.mark.parametrize(
    ("text", "moved"), [("x" * LONGEST, 0), ("x" * (LONGEST + 1), 1), ("ü" * (LONGEST // 2 + 1), 1)]
)
async def test_only_what_is_over_32_kb_is_moved(store: LongTexts, blobs: Counting, text: str, moved: int) -> None:
    await store.create("s-1", "a", {"text": text})
    assert blobs.puts == moved


async def test_a_text_is_fetched_once(store: LongTexts, inner: SqliteStore, blobs: Counting) -> None:
    made = await store.create("s-1", "a", {"text": LONG})
    again = LongTexts(inner, blobs)
    for _ in range(3):
        assert await again.range("s-1", "", "z") == [made]
    assert blobs.opens == 1


async def test_a_document_whose_text_cannot_be_kept_is_not_written(
    store: LongTexts, inner: SqliteStore, blobs: Counting
) -> None:
    blobs.away = True
    with pytest.raises(Retryable):
        await store.create("s-1", "a", {"text": LONG})
    assert await inner.read("s-1", "a") is None


async def test_a_body_cannot_name_somebody_elses_text(store: LongTexts) -> None:
    await store.create("s-1", "a", {"text": LONG})
    made = await store.create("s-2", "b", {"raw": {"$long": [[["text"], NAME]]}})
    assert await store.read("s-2", "b") == made


async def test_purge_takes_the_texts_along_and_goes_on_after_a_crash(
    store: LongTexts, inner: SqliteStore, blobs: Counting
) -> None:
    log = Log(store, blobs)
    for id in ("s-1", "s-2"):
        request = SessionRequest(message=LONG)
        await log.create_session(Session(id=id, owner="ann", request=request, created_at=NOW, updated_at=NOW))
        await log.append_item(id, NewItem(id="one", kind=ItemKind.USER_MESSAGE, text=LONG))
    await blobs.delete_all("s-1")  # so far it got
    after_crash = Log(LongTexts(inner, blobs), blobs)
    assert (await after_crash.session("s-1")).request.message == GONE
    await after_crash.purge("s-1")
    with pytest.raises(NotFound):
        await log.session("s-1")
    assert (await log.session("s-2")).request.message == LONG
    await log.purge("s-2")
    assert await blobs.list("s-1") == await blobs.list("s-2") == []
