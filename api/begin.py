"""Bringing a stored session to life."""

from __future__ import annotations

import logging

import grpc

from api.doorbell import Doorbell
from nightshift.errors import Retryable
from nightshift.log import Log
from nightshift.models import ItemKind, NewItem, Session

FIRST_ITEM = "request"
_log = logging.getLogger(__name__)


async def ensure_begun(log: Log, doorbell: Doorbell, session: Session) -> None:
    """The session's first item is in its log, and its orchestration runs.

    Every step may be repeated, after a crash at any point and by several at once. Revision 0 says that the
    orchestration has not written the document yet, so only then is there anything to do. A task hub that is
    away raises nothing: the request is stored and accepted, and the janitor calls this again.
    """
    if session.revision > 0:
        return
    asked = session.request
    request = NewItem(
        id=FIRST_ITEM,
        kind=ItemKind.USER_MESSAGE,
        text=asked.message,
        author=session.owner_name or session.owner,
        files=asked.files,
        model=asked.model,
        effort=asked.effort,
    )
    await log.append_item(session.id, request)
    try:
        await doorbell.start(session.id)
    except (grpc.RpcError, Retryable) as error:
        _log.warning("session %s was not started (%s); the janitor will", session.id, type(error).__name__)
