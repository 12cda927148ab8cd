"""The hub's one SQLite file: its tables, who may open it, and transactions that share a sync."""

import asyncio
import math
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.errors import StartError

APPLICATION = 0x4E534842  # in the file's header: this is a task hub
SCHEMA_VERSION = 1
FAILED = "the disk failed; see to it, then restart the host"
GATHER = 3  # passes of the loop from a commit to its sync: the turns that it began are sent off, and others join
GATHER_AT_MOST = 4  # passes from the first of them
LARGE = 64 << 20  # bytes of a file that is not read as a whole when it is opened, only its `LIVE` tables
LIVE = ("instances", "inbox", "activities", "entities", "lock_requests")  # history that is damaged fails its reader
SYNC = getattr(os, "fdatasync", os.fsync)

SCHEMA = """
CREATE TABLE instances (  -- an orchestration each; `state` is its OrchestrationState, the other columns are for SQL
    id TEXT PRIMARY KEY, execution TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, status INTEGER NOT NULL,
    created INTEGER NOT NULL, completed INTEGER, scheduled INTEGER NOT NULL,
    parent TEXT, parent_execution TEXT, parent_task INTEGER, state BLOB NOT NULL);
CREATE INDEX instances_by_created ON instances (created, id);
CREATE INDEX instances_by_completed ON instances (completed, id) WHERE completed IS NOT NULL;
CREATE INDEX instances_by_parent ON instances (parent) WHERE parent IS NOT NULL;

CREATE TABLE history (  -- append-only: a row for each turn, an OrchestratorRequest's pastEvents; joined, they are one
    id INTEGER PRIMARY KEY, instance TEXT NOT NULL, events BLOB NOT NULL);
CREATE INDEX history_by_instance ON history (instance, id);

CREATE TABLE inbox (  -- HistoryEvents for an orchestration or entity; with `due`, not before: timers, delayed signals
    seq INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, kind TEXT NOT NULL, due INTEGER NOT NULL,
    sender TEXT, event BLOB NOT NULL);
CREATE INDEX inbox_by_target ON inbox (target, due);
CREATE INDEX inbox_by_due ON inbox (due) WHERE due > 0;

CREATE TABLE activities (  -- scheduled and not completed; `request` is an ActivityRequest
    seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, version TEXT NOT NULL, request BLOB NOT NULL);

CREATE TABLE entities (  -- `owner` holds the lock; what others sent after `locked_at` waits for its release
    id TEXT PRIMARY KEY, state TEXT, modified INTEGER NOT NULL, section TEXT, owner TEXT, locked_at INTEGER);
CREATE INDEX entities_by_owner ON entities (owner) WHERE owner IS NOT NULL;

CREATE TABLE lock_requests (  -- not granted yet; `wanted` is a JSON list of entities
    seq INTEGER PRIMARY KEY, section TEXT NOT NULL, owner TEXT NOT NULL, execution TEXT NOT NULL, wanted TEXT NOT NULL);
"""


def now_us() -> int:
    """Microseconds since 1970, the unit of every time in the file."""
    return time.time_ns() // 1000


class Transaction:
    """What one call changes: all of it or nothing. `touched` are the targets to look at after the commit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.execute = connection.execute
        self.now = now_us()
        self.touched: set[str] = set()
        self.activities: list[tuple[int, str, str]] = []  # new ones: seq, name, version
        self.due = math.inf  # when the first of what it delays falls due
        self.reported: Any = None  # the lease that this reports on


@dataclass(slots=True)
class _Call:
    """A write, or a read that waits for a sync."""

    answered: asyncio.Future[Any]
    operation: Callable[[Transaction], Any] | None = None
    transaction: Transaction | None = None
    result: Any = None
    error: Exception | None = None


class Database:
    """Opens or makes the file. Raises StartError: locked by another host, damaged, not a hub, or of a newer version.

    `committed` is told of transactions that others see already, but that a power failure may still take back, with
    all that was written after them; `synced`, of the same ones on the disk. Used on one event loop.
    """

    def __init__(
        self, path: Path, committed: Callable[[list[Transaction]], None], synced: Callable[[list[Transaction]], None]
    ) -> None:
        self._committed, self._synced = committed, synced
        self._loop = asyncio.get_running_loop()
        self._writes: list[_Call] = []  # not begun
        self._unsynced: list[_Call] = []  # not answered
        self._gather = 0  # passes still to come before a sync
        self._failed = False
        with ExitStack() as opened:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _inspect(path)
                self._connection = opened.enter_context(closing(_connect(path)))
                self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # until closed, or the process is no more
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")  # no sync at a commit: `_sync` does that
                if self._connection.execute("PRAGMA user_version").fetchone() == (0,):
                    marks = f"PRAGMA application_id={APPLICATION}; PRAGMA user_version={SCHEMA_VERSION}"
                    self._connection.executescript(f"BEGIN; {SCHEMA} {marks}; COMMIT")
                self._wal = opened.enter_context(path.with_name(path.name + "-wal").open("rb")).fileno()
            except (OSError, sqlite3.Error) as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                    advice = "another host uses it; stop that one, or give this one another file"
                    raise StartError(f"cannot open the task hub {path}: {advice}") from error
                raise StartError(f"cannot open the task hub {path}: {error}") from error
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Whoever waits is not answered."""
        self._writes, self._unsynced = [], []
        self._opened.close()

    def read(self, sql: str, values: Any = ()) -> list[Any]:
        """Rows of what is committed."""
        return self._connection.execute(sql, values).fetchall()

    async def settle(self) -> None:
        """Return when what `read` may have seen is on the disk."""
        if self._failed:
            raise OSError(FAILED)
        if self._unsynced:
            self._unsynced.append(call := _Call(self._loop.create_future()))
            await call.answered

    async def write[T](self, operation: Callable[[Transaction], T]) -> T:
        """Run `operation` in a transaction; return when it is on the disk. Raises OSError, sqlite3.Error, its own."""
        if self._failed:
            raise OSError(FAILED)
        if not self._writes:
            self._loop.call_soon(self._write)
        self._writes.append(call := _Call(self._loop.create_future(), operation))
        return await call.answered

    def _write(self) -> None:
        """One SQL transaction for all that this pass of the loop has brought."""
        calls, self._writes = self._writes, []
        if not calls:
            return
        self._transact(calls)
        try:
            self._committed([call.transaction for call in calls if call.transaction])
        except Exception as error:  # which cannot be taken back, but must not pass for success
            for call in calls:
                call.error = error
        if not self._unsynced:
            self._loop.call_soon(self._sync, GATHER_AT_MOST)
        self._gather = GATHER
        self._unsynced += calls

    def _transact(self, calls: list[_Call]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for call in calls:
                assert call.operation
                call.transaction = Transaction(self._connection)
                call.result = call.operation(call.transaction)
            self._connection.commit()
        except Exception as error:
            self._connection.rollback()
            for call in calls:
                call.transaction, call.error = None, error
            if len(calls) > 1:
                for call in calls:  # one that fails shall not take the others with it
                    call.error = None
                    self._transact([call])

    def _sync(self, passes: int) -> None:
        """On the loop itself: whoever could be answered meanwhile waits for this, and a thread costs more than it."""
        self._gather -= 1
        if self._gather and passes:
            self._loop.call_soon(self._sync, passes - 1)
            return
        calls, self._unsynced = self._unsynced, []
        if not calls:
            return
        try:
            if self._failed:  # the system may call the next sync a success though pages of the last are gone
                raise OSError(FAILED)
            self._failed = True
            SYNC(self._wal)
            self._failed = False
            self._synced([call.transaction for call in calls if call.transaction])
        except Exception as error:  # nobody must be told that the disk holds what it may not
            for call in calls:
                call.error = call.error or error
        for call in calls:
            if call.answered.done():  # nobody waits any more
                continue
            if call.error:
                call.answered.set_exception(call.error)
            else:
                call.answered.set_result(call.result)


def _connect(path: Path | str, **options: Any) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None, **options)


def _inspect(path: Path) -> None:
    """Refuse what we cannot keep, before anything is written to it."""
    untouched = "it was left untouched; restore it from a copy, or move it away to start with an empty hub"
    wal = path.with_name(path.name + "-wal")
    if not path.exists() or path.stat().st_size == 0:
        if wal.exists() and wal.stat().st_size:
            raise StartError(f"the task hub {path} is gone, but not its {wal.name}; {untouched}")
        return
    try:
        with closing(_connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            (application,), (version,), (schema,) = (
                file.execute(f"PRAGMA {name}").fetchone()
                for name in ("application_id", "user_version", "schema_version")
            )
            if application == APPLICATION and version > SCHEMA_VERSION:
                raise StartError(
                    f"the task hub {path} was written by a newer host (schema {version}; this one knows"
                    f" {SCHEMA_VERSION}); it was left untouched; use that host, or another file"
                )
            if application != APPLICATION and schema != 0:  # 0: no table yet, its host was killed while it made it
                raise StartError(f"{path} is a database, but not a task hub; it was left untouched; give another file")
            checks = ("1",) if path.stat().st_size < LARGE else LIVE
            verdicts = [file.execute(f"PRAGMA quick_check({each})").fetchone()[0] for each in checks]
    except sqlite3.OperationalError:
        raise  # such as: in use
    except sqlite3.DatabaseError as error:
        raise StartError(f"the task hub {path} is damaged ({error}); {untouched}") from error
    for verdict in verdicts:
        if verdict != "ok":
            raise StartError(f"the task hub {path} is damaged ({verdict}); {untouched}")
