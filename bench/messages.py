"""What one message costs the log: appending to it, against a bare synced insert into SQLite in the same run."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from nightshift.log import Log, utc_now
from nightshift.models import ItemKind, NewItem, Session, SessionRequest
from nightshift.store.sqlite import SqliteStore

WARM = (10, 1_000, 5_000)
"""Length of the log before the measured appends."""
MEASURED = 200


def bare(folder: Path) -> float:
    """Seconds of one insert with a sync, the least that any durable write costs here."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
    begun = time.perf_counter()
    for _ in range(MEASURED):
        db.execute("INSERT INTO t (body) VALUES ('x')")
    seconds = (time.perf_counter() - begun) / MEASURED
    db.close()
    return seconds


async def appends(folder: Path) -> list[tuple[int, float]]:
    """(length of the log, seconds of one append there)."""
    store = SqliteStore(folder / "log.db")
    log = Log(store)
    now = utc_now()
    await log.create_session(
        Session(id="s", owner="o", request=SessionRequest(message="m"), created_at=now, updated_at=now)
    )
    found: list[tuple[int, float]] = []
    length = 0
    for warm in WARM:
        while length < warm:
            await log.append_item("s", NewItem(kind=ItemKind.NOTICE, text="x"))
            length += 1
        begun = time.perf_counter()
        for _ in range(MEASURED):
            await log.append_item("s", NewItem(kind=ItemKind.NOTICE, text="x"))
        length += MEASURED
        found.append((warm, (time.perf_counter() - begun) / MEASURED))
    await store.close()
    return found
