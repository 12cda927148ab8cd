"""Blobs as files: what a laptop uses where Azure has Blob Storage.

A file is `<session>/<name>.<content type>`. It is written under a name of its own and renamed when it is whole and
on the disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote
from uuid import uuid4

from nightshift.blobs import PIECE, check_place, check_type, verified
from nightshift.errors import Conflict
from nightshift.ports import Blob


class FileBlobs:
    """`Blobs` in a folder. The disk is never waited for on the event loop."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, session_id: str, name: str, content: bytes | AsyncIterable[bytes], content_type: str) -> Blob:
        check_place(session_id, name)
        check_type(content_type)
        kept = await asyncio.to_thread(self._find, session_id, name)
        if kept is not None:
            return _blob(kept)
        folder = self._root / session_id
        draft, path = folder / f".{uuid4().hex}", folder / f"{name}.{quote(content_type, safe='')}"
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        try:
            with await asyncio.to_thread(draft.open, "wb") as file:
                async for piece in verified(name, content):
                    await asyncio.to_thread(file.write, piece)
                await asyncio.to_thread(_sync, file)
            await asyncio.to_thread(_rename, draft, path)
        except FileNotFoundError as error:
            raise Conflict("The session's files were deleted while this one came", "session-ending") from error
        finally:
            draft.unlink(missing_ok=True)
        return _blob(path)

    async def open(self, session_id: str, name: str) -> tuple[Blob, AsyncIterator[bytes]] | None:
        check_place(session_id, name)
        path = await asyncio.to_thread(self._find, session_id, name)
        return None if path is None else (_blob(path), _pieces(path))

    async def list(self, session_id: str) -> list[str]:
        check_place(session_id)
        paths = await asyncio.to_thread(lambda: [*(self._root / session_id).glob("[!.]*")])
        return sorted({path.name.partition(".")[0] for path in paths})

    async def url(self, session_id: str, name: str, filename: str) -> str | None:
        return None

    async def delete_all(self, session_id: str) -> None:
        check_place(session_id)
        with suppress(FileNotFoundError):  # nothing there, or a repeat of this very call was faster
            await asyncio.to_thread(shutil.rmtree, self._root / session_id)

    async def close(self) -> None:
        return None

    def _find(self, session_id: str, name: str) -> Path | None:
        return next((self._root / session_id).glob(f"{name}.*"), None)


def _blob(path: Path) -> Blob:
    name, _, content_type = path.name.partition(".")
    return Blob(name, path.stat().st_size, unquote(content_type))


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _rename(draft: Path, path: Path) -> None:
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a name is on the disk only when its folder is
    finally:
        os.close(folder)
