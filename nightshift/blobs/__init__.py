"""Adapters of the `Blobs` port, and what they have in common: names, and content that is what its name says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator

from nightshift.errors import NotFound, Unprocessable

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
        raise NotFound("There is no such file: files are named by their content's SHA-256, in lower-case hex")


def check_type(content_type: str) -> None:
    if not _TYPE.fullmatch(content_type):
        raise Unprocessable("The content type must be 1 to 100 printable ASCII characters")


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
        raise Unprocessable(f"The content's SHA-256 is {digest.hexdigest()}, its name says {name}; send it again")
