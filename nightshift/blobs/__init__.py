"""Adapters of the `Blobs` port, and what they have in common: names, and content that is what its name says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Sequence

from nightshift.errors import NotFound, Unprocessable
from nightshift.models import FileRef
from nightshift.ports import Blobs

PIECE = 256 * 1024
"""Bytes handed on at once."""
_SESSION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"[0-9a-f]{64}")
_TYPE = re.compile(r"[!-~][ -~]{0,99}")


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check_place(session_id: str, name: str = "0" * 64) -> None:
    """Raises NotFound for what no file is called, before it leads out of the session's folder."""
    if not _SESSION.fullmatch(session_id) or not _NAME.fullmatch(name):
        raise NotFound(
            "There is no such file: files are named by their content's SHA-256, in lower-case hex", "no-file"
        )


def check_type(content_type: str) -> None:
    if not _TYPE.fullmatch(content_type):
        raise Unprocessable("The content type must be 1 to 100 printable ASCII characters", "bad-content-type")


async def missing(blobs: Blobs, session_id: str, files: Sequence[FileRef]) -> list[str]:
    """Names of those that the session does not have, in order."""
    if not files:
        return []
    kept = set(await blobs.list(session_id))
    return [name for name in dict.fromkeys(file.name for file in files) if name not in kept]


async def demand(blobs: Blobs, session_id: str, files: Sequence[FileRef]) -> None:
    """Raises Unprocessable if the session does not have them all."""
    if absent := await missing(blobs, session_id, files):
        raise Unprocessable(f"This session has no file {absent[0]}; upload it first, then refer to it", "file-missing")


async def verified(name: str, content: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The content, piece by piece. Raises Unprocessable at its end if it is not what its name says."""
    digest = hashlib.sha256()
    if isinstance(content, bytes):
        digest.update(content)
        yield content
    else:
        async for piece in content:
            digest.update(piece)
            yield piece
    if digest.hexdigest() != name:
        raise Unprocessable(
            f"The content's SHA-256 is {digest.hexdigest()}, its name says {name}; send it again", "content-differs"
        )
