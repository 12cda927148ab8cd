"""The store in Cosmos DB (NoSQL API).

A document is one item: `pk` is its partition, `id` its escaped id, `body` its body. Beside the body stand the
few fields that queries use, so that nothing else needs an index:

    key      the body's `key`
    listed   kind, created_at, pk, id in one string that sorts as `newest` lists
    owned    the same for one owner: kind, owner, created_at, pk, id
    sorted   both for each other order, with the body's text for it in the place of created_at
    write    names the write that made this version

`newest` reads on from the last string it returned. The SDK's own continuation tokens would not do: they cannot
be had for an ORDER BY over several physical partitions, and they come from a variable that calls at the same time
share.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.cosmos import ConsistencyLevel
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from nightshift.azure import azure_faults
from nightshift.errors import Conflict, Permanent, PreconditionFailed, Unprocessable, UserError
from nightshift.ports import NOTHING_ELSE, Body, Document, Find, Order, Page

CONTAINER = "documents"
LONGEST_ID, LONGEST_PARTITION = 1023, 2048
"""Bytes, by Cosmos DB's own limits."""
MOST_AT_ONCE = 1000
"""Items of one answer."""
NOWHERE = "-"

_FIND = {name: f" AND c.find.{name} = @{name}" for name in ("phase", "repository", "model", "agent")} | {
    "text": " AND CONTAINS(c.find.text, @text)"
}

type Record = dict[str, Any]


class CosmosStore:
    """`Store` on Cosmos DB. The credential stays the caller's to close."""

    def __init__(self, endpoint: str, credential: AsyncTokenCredential, database: str = "nightshift") -> None:
        self._client = CosmosClient(
            endpoint,
            credential,
            # The log's rules need reads that see every finished write, whichever instance of the app made it. An
            # account that is set to less (Session is Azure's default) refuses this level, rather than lose messages.
            consistency_level=ConsistencyLevel.BoundedStaleness,
            # Seconds. Queries are repeated in two layers of the SDK, so that they may take four times as long.
            retry_throttle_total=3,
            retry_throttle_backoff_max=2,
            read_timeout=10,
            enable_compact_utf8_item_writes=True,
        )
        self._container = self._client.get_database_client(database).get_container_client(CONTAINER)
        self._where = f"container '{CONTAINER}' of database '{database}'"
        self._is_open = False
        self._opening = asyncio.Lock()

    async def create(self, partition: str, id: str, body: Body) -> Document:
        record = _record(partition, id, body)
        async with self._open() as container:
            etag = await self._write(container.create_item(record), record)
        if etag is None:
            raise Conflict(f"'{id}' exists already in '{partition}'")
        return Document(partition, id, body, etag)

    async def read(self, partition: str, id: str) -> Document | None:
        name = _name(partition, id)
        async with self._open() as container:
            record = await _point_read(container, name, partition)
        return None if record is None else _document(record)

    async def replace(self, document: Document, body: Body) -> Document:
        record = _record(document.partition, document.id, body)
        async with self._open() as container:
            written = container.replace_item(
                record["id"], record, etag=document.etag, match_condition=MatchConditions.IfNotModified
            )
            etag = await self._write(written, record)
        if etag is None:
            raise PreconditionFailed(f"'{document.id}' changed since it was read; read it again")
        return Document(document.partition, document.id, body, etag)

    async def delete(self, partition: str, id: str) -> None:
        name = _name(partition, id)
        async with self._open() as container:
            try:
                await container.delete_item(name, partition_key=partition)
            except CosmosResourceNotFoundError:
                return  # what is not there need not be deleted

    async def range(
        self, partition: str, low: str, high: str, *, limit: int = 100, newest_first: bool = False
    ) -> list[Document]:
        return await self._select(
            f"c.id > @low AND c.id < @high ORDER BY c.id {'DESC' if newest_first else 'ASC'}",
            partition,
            limit=limit,
            low=escape(low),
            high=escape(high),
        )

    async def find(self, partition: str, key: str) -> Document | None:
        found = await self._select("c.key = @key", partition, limit=1, key=key)
        return found[0] if found else None

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
        listed, prefix = ("listed", f"{kind} ") if owner is None else ("owned", f"{kind} {escape(owner)} ")
        field, way = (listed if order == "created" else f"sorted.{order}.{listed}"), "DESC"
        low, high = prefix, prefix[:-1] + "!"  # '!' comes right after the space
        if order == "title":
            low, way = _decode(cursor, order, prefix) if cursor is not None else low, "ASC"
        elif cursor is not None:
            high = _decode(cursor, order, prefix)
        # `field`, `way` and the names of _FIND are words of this module; values only ever travel as parameters.
        narrowed = "".join(_FIND[name] for name in find)
        where = f"c.{field} > @low AND c.{field} < @high{narrowed} ORDER BY c.{field} {way}"
        found = await self._select(where, None, limit=limit + 1, low=low, high=high, **find)
        page = found[:limit]
        more = len(found) > limit
        return Page(page, _encode(order, _sort_keys(page[-1], order)[listed]) if more else None)

    async def _select(self, condition: str, partition: str | None, **parameters: str | int) -> list[Document]:
        """One partition's query is one request; without a partition the SDK asks each and merges."""
        options: dict[str, Any] = {} if partition is None else {"partition_key": partition}
        async with self._open() as container:
            records = container.query_items(
                f"SELECT TOP @limit * FROM c WHERE {condition}",  # noqa: S608
                parameters=[{"name": f"@{name}", "value": value} for name, value in parameters.items()],
                max_item_count=min(int(parameters["limit"]), MOST_AT_ONCE),
                **options,
            )
            return [_document(record) async for record in records]

    async def _write(self, written: Awaitable[Record], record: Record) -> str | None:
        """The new version's ETag; None if somebody else was first.

        The SDK sends a write again whose connection broke. If the first had arrived, the second meets it.
        """
        try:
            return str((await written)["_etag"])
        except (CosmosResourceExistsError, CosmosAccessConditionFailedError, CosmosResourceNotFoundError):
            found = await _point_read(self._container, record["id"], record["pk"])
            return None if found is None or found["write"] != record["write"] else str(found["_etag"])
        except CosmosHttpResponseError as error:
            if error.status_code == 400:  # nested too deep, for one
                raise Unprocessable(f"Cosmos DB cannot store '{record['id']}': {error.message}") from error
            raise

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[ContainerProxy]:
        """The container, looked up once: a missing one answers 404 to a read, just as a missing document does."""
        with azure_faults("Cosmos DB"):
            async with self._opening:
                if not self._is_open:
                    await self._client.__aenter__()
                    try:
                        await self._container.read()
                    except CosmosResourceNotFoundError as error:
                        raise Permanent(
                            f"Cosmos DB has no {self._where}", "Deploy infra/, which makes it, or correct the settings."
                        ) from error
                    # An account that is set to a weaker level answers 400, here rather than to somebody's message.
                    await _point_read(self._container, NOWHERE, NOWHERE)
                    self._is_open = True
            yield self._container

    async def close(self) -> None:
        await self._client.close()


async def _point_read(container: ContainerProxy, name: str, partition: str) -> Record | None:
    try:
        return await container.read_item(name, partition_key=partition)
    except CosmosResourceNotFoundError:
        return None


def _record(partition: str, id: str, body: Body) -> Record:
    record: Record = {"pk": partition, "id": _name(partition, id), "write": uuid4().hex, "body": body}
    if "key" in body:
        record["key"] = body["key"]
    if "kind" in body:
        document = Document(partition, id, body, "")
        record |= _sort_keys(document)
        if "sort" in body:
            record["sorted"] = {order: _sort_keys(document, order) for order in body["sort"]}
    if "find" in body:
        record["find"] = body["find"]
    return record


def _document(record: Record) -> Document:
    return Document(record["pk"], unescape(record["id"]), record["body"], record["_etag"])


def _sort_keys(document: Document, order: Order = "created") -> dict[str, str]:
    """Parts are joined by a space, which sorts before all that is in them."""
    body = document.body
    kind, owner = body["kind"], body.get("owner")
    value = body["created_at"] if order == "created" else escape(body["sort"][order])
    place = f"{value} {escape(document.partition)} {escape(document.id)}"
    listed = {"listed": f"{kind} {place}"}
    return listed if owner is None else listed | {"owned": f"{kind} {escape(owner)} {place}"}


def _encode(order: Order, place: str) -> str:
    return base64.urlsafe_b64encode(f"{order} {place}".encode()).decode()


def _decode(cursor: str, order: Order, prefix: str) -> str:
    try:
        ours, _, place = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition(" ")
    except (ValueError, binascii.Error):
        ours, place = "", ""
    if ours != order or not place.startswith(prefix):
        raise UserError("The cursor is not one of ours; list again from the start without it", "bad-cursor")
    return place


def _name(partition: str, id: str) -> str:
    name = escape(id)
    if len(name) > LONGEST_ID or len(partition.encode()) > LONGEST_PARTITION:
        raise UserError(f"A name is longer than can be stored: '{partition[:40]}', '{id[:40]}'")
    return name


# Cosmos DB takes no / \ ? # in an id. Ids are also sorted by, so each escaped byte is written as a mark that sorts
# where the byte does, and its two hexadecimal digits: escaped ids are in the same order as the ids' bytes in UTF-8.
_MARKS = ((0x2D, "!"), (0x30, "."), (0x41, "<"), (0x5F, "["), (0x100, "~"))
"""(first byte that is not this mark's, mark)"""
_TO_ESCAPE = re.compile(r"[^-0-9:;A-Z_`a-z{|}]")
_ESCAPED = re.compile(r"[!.<\[~]([0-9A-F]{2})")


def escape(id: str) -> str:
    def mark(found: re.Match[str]) -> str:
        byte = ord(found[0])
        return f"{next(mark for end, mark in _MARKS if byte < end)}{byte:02X}"

    return _TO_ESCAPE.sub(mark, id.encode().decode("latin-1"))


def unescape(name: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name).encode("latin-1").decode()
