"""The hub's one SQLite file: its tables, who may open it, and transactions that share a sync."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from embedded.errors import StartError

APPLICATION = 0x4E534842  # in the file's header: this is a task hub
SCHEMA_VERSION = 1
FAILED = "the disk failed; see to it, then restart the host"
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
        self.delayed = False  # something falls due later
        self.reported: Any = None  # the lease that this reports on


class Database:
    """Opens or makes the file. Raises StartError: locked by another host, damaged, not a hub, or of a newer version.

    `committed` is told of transactions that others see already, but that a power failure may still take back, with
    all that was written after them; `synced`, of the same ones on the disk. Used by any thread.
    """

    def __init__(
        self, path: Path, committed: Callable[[list[Transaction]], None], synced: Callable[[list[Transaction]], None]
    ) -> None:
        self._committed, self._synced = committed, synced
        self._queue: list[_Write] = []
        self._led = False
        self._commits = self._on_disk = 0
        self._failed = False
        self._mutex, self._reading, self._syncing = threading.Lock(), threading.Lock(), threading.Lock()
        with ExitStack() as opened:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _inspect(path)
                self._connection = opened.enter_context(closing(_connect(path)))
                self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")  # until closed, or the process is no more
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")  # no sync at a commit: `write` does that itself
                if self._connection.execute("PRAGMA user_version").fetchone() == (0,):
                    marks = f"PRAGMA application_id={APPLICATION}; PRAGMA user_version={SCHEMA_VERSION}"
                    self._connection.executescript(f"BEGIN; {SCHEMA} {marks}; COMMIT")
                self._wal = opened.enter_context(path.with_name(path.name + "-wal").open("rb")).fileno()
            except (OSError, sqlite3.Error) as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                    advice = "another host uses it; stop that one, or give this one another file"
                    raise StartError(f"cannot open the task hub {path}: {advice}") from error
                raise StartError(f"cannot open the task hub {path}: {error}") from error
            self.close = opened.pop_all().close

    def settle(self) -> None:
        """Return when what `read` may have seen is on the disk. One sync does for all who want one by then."""
        number = self._commits
        with self._syncing:
            if self._failed:  # the system may call the next sync a success though pages of the last are gone
                raise OSError(FAILED)
            if self._on_disk < number:
                number = self._commits
                try:
                    SYNC(self._wal)
                except OSError:
                    self._failed = True
                    raise
                self._on_disk = number

    def read(self, sql: str, values: Any = ()) -> list[Any]:
        """Rows of what is committed."""
        with self._reading:
            return self._connection.execute(sql, values).fetchall()

    def write[T](self, operation: Callable[[Transaction], T]) -> T:
        """Run `operation` in a transaction; return when it is on the disk. Raises its errors, OSError, sqlite3.Error.

        Whoever comes when nobody writes does it, then for all who came meanwhile the first of them, with one sync.
        """
        if self._failed:
            raise OSError(FAILED)
        mine = _Write(operation)
        with self._mutex:
            self._queue.append(mine)
            leads, self._led = not self._led, True
        if not leads:
            mine.woken.acquire()
        if not mine.done:
            with self._mutex:
                batch, self._queue = self._queue, []
            self._write_batch(batch)
            with self._mutex:  # the next may write while this is synced
                self._led = bool(self._queue)
                if self._queue:
                    self._queue[0].woken.release()
            self._sync_batch(batch)
        if mine.error is not None:
            raise mine.error
        return mine.result

    def _write_batch(self, batch: list["_Write"]) -> None:
        try:
            with self._reading:
                transactions = self._commit(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for each in batch:  # one that fails shall not take the others with it
                self._write_batch([each])
            return
        try:
            self._committed(transactions)
        except Exception as error:  # which cannot be taken back, but must not pass for success
            for each in batch:
                each.error = error

    def _sync_batch(self, batch: list["_Write"]) -> None:
        try:
            self.settle()
            self._synced([each.transaction for each in batch if each.transaction and each.error is None])
        except Exception as error:  # the disk; nobody must be told that it holds what it may not
            for each in batch:
                each.error = each.error or error
        for each in batch:
            each.done = True
            each.woken.release()

    def _commit(self, batch: list["_Write"]) -> list[Transaction]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            transactions: list[Transaction] = []
            for each in batch:
                transactions.append(transaction := Transaction(self._connection))
                each.transaction, each.result = transaction, each.operation(transaction)
            self._connection.commit()
            self._commits += 1
        except BaseException:
            self._connection.rollback()
            raise
        return transactions


class _Write:
    def __init__(self, operation: Callable[[Transaction], Any]) -> None:
        self.operation = operation
        self.woken = threading.Lock()  # held until it is done, or the next to write
        self.woken.acquire()
        self.done = False
        self.transaction: Transaction | None = None
        self.result: Any = None
        self.error: Exception | None = None


def _connect(path: Path | str, **options: Any) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, **options)


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
            (verdict,) = file.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        raise  # such as: in use
    except sqlite3.DatabaseError as error:
        raise StartError(f"the task hub {path} is damaged ({error}); {untouched}") from error
    if verdict != "ok":
        raise StartError(f"the task hub {path} is damaged ({verdict}); {untouched}")
    if application != APPLICATION and schema != 0:  # 0: no table yet, as when its host was killed while it made it
        raise StartError(f"{path} is a database, but not a task hub; it was left untouched; give another file")
