"""Keeps long texts out of the store: a Cosmos DB item may have 2 MB, and every write of it is paid by its size.

A string of more than 32 KB, however deep in a body, goes to a blob. The body keeps '' in its place and says in
`$long` where it was: [[path, name], ...]. Whoever reads gets the body as it was written.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Any, cast

from nightshift.blobs import name_of
from nightshift.ports import NOTHING_ELSE, Blobs, Body, Document, Find, Order, Page, Store

LONGEST = 32 * 1024
"""Bytes of UTF-8 that stay in the store."""
_LONG = "$long"
_REMEMBERED = 32
"""Texts. The newest item is read again and again, and what a name stands for never changes."""

GONE = "[This text was deleted with its session.]"
_log = logging.getLogger(__name__)

type Path = list[str | int]


class LongTexts:
    """`Store` over another one and blobs. `delete` leaves blobs alone, since documents of a partition share them:
    they go with the whole partition, by `Blobs.delete_all`."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._texts: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def create(self, partition: str, id: str, body: Body) -> Document:
        stored = await self._store.create(partition, id, await self._shortened(partition, body))
        return Document(partition, id, body, stored.etag)

    async def read(self, partition: str, id: str) -> Document | None:
        document = await self._store.read(partition, id)
        return None if document is None else await self._whole(document)

    async def replace(self, document: Document, body: Body) -> Document:
        stored = await self._store.replace(document, await self._shortened(document.partition, body))
        return Document(document.partition, document.id, body, stored.etag)

    async def delete(self, partition: str, id: str) -> None:
        await self._store.delete(partition, id)

    async def range(
        self, partition: str, low: str, high: str, *, limit: int = 100, newest_first: bool = False
    ) -> list[Document]:
        found = await self._store.range(partition, low, high, limit=limit, newest_first=newest_first)
        return await self._all_whole(found)

    async def find(self, partition: str, key: str) -> Document | None:
        document = await self._store.find(partition, key)
        return None if document is None else await self._whole(document)

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
        page = await self._store.newest(kind, owner=owner, find=find, order=order, limit=limit, cursor=cursor)
        return Page(await self._all_whole(page.documents), page.cursor)

    async def close(self) -> None:
        await self._store.close()

    async def _shortened(self, partition: str, body: Body) -> Body:
        """The blobs come first: a document never refers to what is not there."""
        found: list[tuple[Path, str]] = []
        shortened = _cut(body, [], found)
        if not found:
            return body
        places: list[tuple[Path, str]] = []
        for path, text in found:
            content = text.encode()
            name = name_of(content)
            await self._blobs.put(partition, name, content, "text/plain; charset=utf-8")
            places.append((path, name))
        return shortened | {_LONG: places}

    async def _whole(self, document: Document) -> Document:
        places = cast(list[tuple[Path, str]], document.body.pop(_LONG, []))  # a body just read is nobody else's
        texts = await asyncio.gather(*(self._text(document, name) for _, name in places))
        for (path, _), text in zip(places, texts, strict=True):
            _put_back(document.body, path, text)
        return document

    async def _all_whole(self, documents: list[Document]) -> list[Document]:
        return await asyncio.gather(*map(self._whole, documents))

    async def _text(self, document: Document, name: str) -> str:
        key = document.partition, name
        if key not in self._texts:
            opened = await self._blobs.open(document.partition, name)
            if opened is None:  # a purge got so far; the rest of the conversation must stay readable for it to go on
                _log.error("text %s of '%s' in '%s' is gone", name, document.id, document.partition)
                return GONE
            self._texts[key] = b"".join([piece async for piece in opened[1]]).decode()
        self._texts.move_to_end(key)
        text = self._texts[key]
        if len(self._texts) > _REMEMBERED:
            self._texts.popitem(last=False)
        return text


def _cut(value: Any, path: Path, found: list[tuple[Path, str]]) -> Any:
    """A copy with '' in the place of each long text, and these put into `found`."""
    if isinstance(value, str) and len(value) * 4 > LONGEST and len(value.encode()) > LONGEST:
        found.append((path, value))
        return ""
    if isinstance(value, dict):
        return {key: _cut(part, [*path, key], found) for key, part in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_cut(part, [*path, index], found) for index, part in enumerate(cast(list[Any], value))]
    return value


def _put_back(value: Any, path: Path, text: str) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = text
