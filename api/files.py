"""Files of a session: what people attach and what the agent shows them. Each is named by its content's SHA-256, so a
repeat is a no-op and what a name stands for never changes.

They go through the app, in and out: the storage behind it has no public door. What comes out is never shown as a page
of this site, whatever somebody put into it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.auth import KEY_SCHEMES, WORKER_SCHEME, Reader, Worker, Writer, own_session
from api.begin import ending, ensure_begun, refuse_if_ending
from api.dependencies import DoorbellDep, ServicesDep
from nightshift.blobs import PIECE
from nightshift.errors import Conflict, NotFound
from nightshift.models import FileRef, Model
from nightshift.ports import Blob
from nightshift.services import Services

people = APIRouter(prefix="/api/sessions/{session_id}/files", tags=["sessions"], dependencies=KEY_SCHEMES)
workers = APIRouter(prefix="/api/worker/files", tags=["worker"], dependencies=WORKER_SCHEME)

SHOWN = {"image/png", "image/jpeg", "image/gif", "image/webp"}
"""Types that a browser may show in place: none of them can carry a script."""
_IN_MEMORY = 1 << 20
_BINARY: dict[str, Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "required": True,
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The content, with its own type"},
    304: {"description": "You have it already, by its ETag"},
}

type Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="Of the content, in lower-case hex.")]
type Filename = Annotated[
    str, Query(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f]+$", description="What people call it.")
]
type ContentType = Annotated[str, Header(alias="Content-Type", max_length=100, include_in_schema=False)]


class StoredFile(Model):
    name: str
    size: int
    content_type: str


@people.put("", status_code=201, summary="Upload a file", openapi_extra={"requestBody": _BINARY})
async def upload_file(
    session_id: str,
    filename: Filename,
    request: Request,
    principal: Writer,
    services: ServicesDep,
    doorbell: DoorbellDep,
    content_type: ContentType = "application/octet-stream",
) -> FileRef:
    """Answers what a message names it by. The last file that a new session waits for begins it."""
    session = await own_session(services, principal, session_id)
    refuse_if_ending(session)
    # On disk first: a blob cannot be begun before its name is known.
    with SpooledTemporaryFile[bytes](max_size=_IN_MEMORY) as draft:
        digest = hashlib.sha256()
        async for piece in request.stream():
            digest.update(piece)
            await asyncio.to_thread(draft.write, piece)
        draft.seek(0)
        blob = await _keep(services, session_id, digest.hexdigest(), _pieces(draft), content_type)
    await ensure_begun(services, doorbell, session)
    return FileRef(name=blob.name, filename=filename, content_type=blob.content_type, size=blob.size)


@people.get("/{name}", summary="Download a file", response_class=StreamingResponse, responses=_FILE)
async def download_file(
    session_id: str,
    name: Sha256,
    principal: Reader,
    services: ServicesDep,
    filename: Filename = "file",
    if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    await own_session(services, principal, session_id)
    headers = {
        "ETag": f'"{name}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if if_none_match is not None and f'"{name}"' in if_none_match:
        return Response(status_code=304, headers=headers)
    blob, content = await _open(services, session_id, name)
    place = "inline" if blob.content_type in SHOWN else "attachment"
    headers["Content-Disposition"] = f"{place}; filename*=UTF-8''{quote(filename, safe='')}"
    return _streamed(blob, content, headers)


@workers.put("/{name}", status_code=201, summary="Keep a file", openapi_extra={"requestBody": _BINARY})
async def keep_worker_file(
    name: Sha256,
    request: Request,
    worker: Worker,
    services: ServicesDep,
    content_type: ContentType = "application/octet-stream",
) -> StoredFile:
    blob = await _keep(services, worker.session_id, name, request.stream(), content_type)
    return StoredFile(name=blob.name, size=blob.size, content_type=blob.content_type)


@workers.get("/{name}", summary="Fetch a file", response_class=StreamingResponse, responses=_FILE)
async def get_worker_file(name: Sha256, worker: Worker, services: ServicesDep) -> Response:
    return _streamed(*await _open(services, worker.session_id, name), {})


async def _keep(
    services: Services, session_id: str, name: str, content: AsyncIterator[bytes], content_type: str
) -> Blob:
    """Raises Unprocessable if the content is not what its name says, Conflict if the session is being deleted."""
    blob = await services.blobs.put(session_id, name, content, content_type)
    # A purge that passed here meanwhile will not come again, and it is only begun when the session says so.
    try:
        gone = ending(await services.log.session(session_id))
    except NotFound:
        gone = True
    if gone:
        await services.blobs.delete_all(session_id)
        raise Conflict("This session is being deleted and takes no files; begin a new one", "session-ending")
    return blob


async def _open(services: Services, session_id: str, name: str) -> tuple[Blob, AsyncIterator[bytes]]:
    opened = await services.blobs.open(session_id, name)
    if opened is None:
        raise NotFound(f"This session has no file '{name}'", "no-file")
    return opened


def _streamed(blob: Blob, content: AsyncIterator[bytes], headers: dict[str, str]) -> Response:
    # Named as it is, so that nothing on the way compresses it anew.
    headers |= {"Content-Type": blob.content_type, "Content-Length": str(blob.size), "Content-Encoding": "identity"}
    return StreamingResponse(content, headers=headers)


async def _pieces(file: SpooledTemporaryFile[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece
