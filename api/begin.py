"""Bringing a stored session to life, and what one takes that is at its end."""

from __future__ import annotations

import logging

import grpc

from api.doorbell import Doorbell
from nightshift.blobs import missing
from nightshift.errors import Conflict, Retryable
from nightshift.models import ItemKind, NewItem, Phase, Session
from nightshift.services import Services

FIRST_ITEM = "request"
_ENDING = {Phase.DELETING, Phase.DELETED}
_log = logging.getLogger(__name__)


async def ensure_begun(services: Services, doorbell: Doorbell, session: Session) -> list[str]:
    """The session's first item is in its log, and its orchestration runs; or it waits for the files returned.

    Every step may be repeated, after a crash at any point and by several at once. Revision 0 says that the
    orchestration has not written the document yet, so only then is there anything to do. A task hub that is
    away raises nothing: the request is stored and accepted, and the janitor calls this again.
    """
    if session.revision > 0:
        return []
    asked = session.request
    if awaited := await missing(services.blobs, session.id, asked.files):
        return awaited
    request = NewItem(
        id=FIRST_ITEM,
        kind=ItemKind.USER_MESSAGE,
        text=asked.message,
        author=session.owner_name or session.owner,
        files=asked.files,
        model=asked.model,
        effort=asked.effort,
        plan=asked.plan or None,
    )
    await services.log.append_item(session.id, request)
    try:
        await doorbell.start(session.id)
    except (grpc.RpcError, Retryable) as error:
        _log.warning("session %s was not started (%s); the janitor will", session.id, type(error).__name__)
    return []


async def must_be_begun(services: Services, doorbell: Doorbell, session: Session) -> None:
    """Raises Conflict for a session that waits for its first files."""
    if awaited := await ensure_begun(services, doorbell, session):
        names = ", ".join(awaited)
        raise Conflict(
            f"This session begins when its files are there: upload {names} first", "files-awaited", count=len(awaited)
        )


def ending(session: Session) -> bool:
    return session.phase in _ENDING


def refuse_if_ending(session: Session) -> None:
    if ending(session):
        raise Conflict("This session is being deleted and takes nothing more; begin a new one", "session-ending")
