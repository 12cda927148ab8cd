"""The store in one SQLite file: what a laptop uses where Azure has Cosmos DB.

Same interface, same promises: one document a write, ETag on every replace, conflict on a second create.
The file is in WAL mode and every write is synced before it is answered.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from nightshift.errors import Conflict, PreconditionFailed, UserError
from nightshift.ports import NOTHING_ELSE, Body, Document, Find, Order, Page

# No WITHOUT ROWID: with it SQLite's planner looks through a whole partition rather than use the index by key.
SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    pk TEXT NOT NULL, id TEXT NOT NULL, etag TEXT NOT NULL, body TEXT NOT NULL,
    key TEXT GENERATED ALWAYS AS (json_extract(body, '$.key')) VIRTUAL,
    kind TEXT GENERATED ALWAYS AS (json_extract(body, '$.kind')) VIRTUAL,
    created_at TEXT GENERATED ALWAYS AS (json_extract(body, '$.created_at')) VIRTUAL,
    PRIMARY KEY (pk, id)
);
CREATE INDEX IF NOT EXISTS documents_by_key ON documents (pk, key);
CREATE INDEX IF NOT EXISTS documents_by_kind ON documents (kind, created_at, pk) WHERE kind IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_by_phase ON documents (kind, json_extract(body, '$.find.phase'), created_at, pk)
    WHERE kind IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_by_repository
    ON documents (kind, json_extract(body, '$.find.repository'), created_at, pk) WHERE kind IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_by_active ON documents (kind, json_extract(body, '$.sort.active'), pk)
    WHERE kind IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_by_cost ON documents (kind, json_extract(body, '$.sort.cost'), pk)
    WHERE kind IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_by_title ON documents (kind, json_extract(body, '$.sort.title'), pk)
    WHERE kind IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_by_owner ON documents (kind, json_extract(body, '$.owner'), created_at, pk)
    WHERE kind IS NOT NULL;
"""


_FIND = {  # word for word as in the indexes
    "phase": " AND json_extract(body, '$.find.phase') = ?",
    "repository": " AND json_extract(body, '$.find.repository') = ?",
    "model": " AND json_extract(body, '$.find.model') = ?",
    "agent": " AND json_extract(body, '$.find.agent') = ?",
    "text": " AND instr(json_extract(body, '$.find.text'), ?)",
}
_SORT = {"created": "created_at"} | {
    order: f"json_extract(body, '$.sort.{order}')" for order in ("active", "cost", "title")
}


class SqliteStore:
    """`Store` on SQLite. Writes are made by one thread, which may wait for the disk. Reads are made at once, by the
    caller: they find what was committed, wait for no writer, and take less than the way to a thread and back."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._db = self._thread.submit(self._open, path).result()
        self._reader = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, timeout=30)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(SCHEMA)
        return db

    async def _run[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._db)

    async def create(self, partition: str, id: str, body: Body) -> Document:
        etag = uuid4().hex

        def work(db: sqlite3.Connection) -> None:
            try:
                db.execute(
                    "INSERT INTO documents (pk, id, etag, body) VALUES (?, ?, ?, ?)", (partition, id, etag, dump)
                )
            except sqlite3.IntegrityError as error:
                raise Conflict(f"'{id}' exists already in '{partition}'") from error

        dump = json.dumps(body)
        await self._run(work)
        return Document(partition, id, body, etag)

    async def read(self, partition: str, id: str) -> Document | None:
        rows = await self._select("pk = ? AND id = ?", (partition, id))
        return rows[0] if rows else None

    async def replace(self, document: Document, body: Body) -> Document:
        etag = uuid4().hex
        dump = json.dumps(body)

        def work(db: sqlite3.Connection) -> int:
            return db.execute(
                "UPDATE documents SET body = ?, etag = ? WHERE pk = ? AND id = ? AND etag = ?",
                (dump, etag, document.partition, document.id, document.etag),
            ).rowcount

        if await self._run(work) == 0:
            raise PreconditionFailed(f"'{document.id}' changed since it was read; read it again")
        return Document(document.partition, document.id, body, etag)

    async def delete(self, partition: str, id: str) -> None:
        await self._run(lambda db: db.execute("DELETE FROM documents WHERE pk = ? AND id = ?", (partition, id)))

    async def range(
        self, partition: str, low: str, high: str, *, limit: int = 100, newest_first: bool = False
    ) -> list[Document]:
        order = "DESC" if newest_first else "ASC"
        return await self._select(
            f"pk = ? AND id > ? AND id < ? ORDER BY id {order} LIMIT ?", (partition, low, high, limit)
        )

    async def find(self, partition: str, key: str) -> Document | None:
        rows = await self._select("pk = ? AND key = ?", (partition, key))
        return rows[0] if rows else None

    async def newest(
        self,
        kind: str,
        *,
        owner: str | None = None,
        find: Find = NOTHING_ELSE,
        order: Order = "created",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        where, parameters = "kind = ?", [kind]
        if owner is not None:
            where += " AND json_extract(body, '$.owner') = ?"  # word for word as in the index, which has it sorted
            parameters.append(owner)
        for name, wanted in find.items():
            where += _FIND[name]
            parameters.append(wanted)
        field = _SORT[order]
        ahead, way = (">", "ASC") if order == "title" else ("<", "DESC")
        if cursor is not None:
            where += f" AND ({field}, pk, id) {ahead} (?, ?, ?)"
            parameters += _decode(cursor, order)
        found = await self._select(
            f"{where} AND {field} IS NOT NULL ORDER BY {field} {way}, pk {way}, id {way} LIMIT ?",
            (*parameters, limit + 1),
        )
        more = len(found) > limit
        page = found[:limit]
        return Page(page, _encode(page[-1], order) if more else None)

    async def _select(self, condition: str, parameters: tuple[object, ...]) -> list[Document]:
        # `condition` is always a literal of this module; values only ever travel as parameters.
        select = f"SELECT pk, id, body, etag FROM documents WHERE {condition}"  # noqa: S608
        rows = self._reader.execute(select, parameters).fetchall()
        return [Document(pk, id, json.loads(body), etag) for pk, id, body, etag in rows]

    async def close(self) -> None:
        self._reader.close()
        await self._run(lambda db: db.close())
        self._thread.shutdown()


def _encode(document: Document, order: Order) -> str:
    body = document.body
    value = body["created_at"] if order == "created" else body["sort"][order]
    return base64.urlsafe_b64encode(json.dumps([order, value, document.partition, document.id]).encode()).decode()


def _decode(cursor: str, order: Order) -> list[str]:
    try:
        ours, value, partition, id = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, TypeError, binascii.Error):
        ours, value, partition, id = None, "", "", ""
    if ours != order:
        raise UserError("The cursor is not one of ours; list again from the start without it", "bad-cursor")
    return [str(value), str(partition), str(id)]
