"""Telling a session's owner, on their devices, that it came to need them, is done or failed.

A projection is followed by one try for each device, with a time limit: what a push service could not take is noted
as owed, and the janitor tries again. A process that dies in between does it all again, and the browser puts a repeat
in the place of what it shows already.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

import httpx
from pydantic import Field

from api.pages.words import words
from api.views import title
from nightshift.devices import Device, list_devices, remove
from nightshift.errors import Conflict, NotFound, Permanent, PreconditionFailed, Retryable
from nightshift.log import utc_now
from nightshift.models import Model, Session
from nightshift.moments import Moment, Turned, turned
from nightshift.people import read_places
from nightshift.ports import Document
from nightshift.services import Services
from nightshift.webpush import Gone, Message, WebPush

TIME = 3.0
"""Seconds that push services get: the session waits for them."""
GIVEN_UP = timedelta(hours=1)
"""News older than this are no news."""
_TOLD, _OWED = "told", "owed"
_log = logging.getLogger(__name__)


class Told(Model):
    """What the owner was told last; one document of the session."""

    key: str
    since: datetime
    owed: list[str] = Field(default=[])
    """Devices whose push service could not take it."""


async def tell(services: Services, session: Session) -> None:
    """Once for what the session came to. Raises nothing of the push services'."""
    news = turned(session)
    if news is None or (news.moment is Moment.DONE and await _was_interrupted(services, session)):
        return
    document = await services.store.read(session.id, _TOLD)
    told = _told(document)
    again = told is not None and told.key == news.key
    if told is not None and again and not told.owed:
        return
    devices = [each for each in await list_devices(services.store, session.owner) if news.moment in each.moments]
    if told is not None and again:
        devices = [each for each in devices if each.id in told.owed]
    elif devices:
        told = Told(key=news.key, since=utc_now())
    else:
        return
    has_read = (await read_places(services.store, session.owner)).get(session.id, 0) >= session.item_seq
    owed = [] if has_read else await _send(services, session, news, devices)
    if owed and utc_now() - told.since > GIVEN_UP:
        _log.warning("session %s: %d devices could not be told for an hour", session.id, len(owed))
        owed = []
    await _keep(services, session, document, told.model_copy(update={"owed": owed}))


async def tell_owed(services: Services) -> None:
    """Another try for what push services could not take. The janitor's."""
    for document in (await services.store.newest(_OWED, limit=100)).documents:
        try:
            session = await services.log.session(document.partition)
        except NotFound:
            continue  # it is being deleted, and this document with it
        told, news = _told(document), turned(session)
        if told is not None and (news is None or news.key != told.key):  # it went on: that is no news any more
            await _keep(services, session, document, told.model_copy(update={"owed": []}))
        else:
            await tell(services, session)


async def _was_interrupted(services: Services, session: Session) -> bool:
    """Whoever stops a turn knows that it ended."""
    newest = await services.log.items_before(session.id, session.item_seq + 1, limit=3)
    return any(item.code == "turn_interrupted" and item.seq > session.answered_seq for item in newest)


def _told(document: Document | None) -> Told | None:
    if document is None:
        return None
    return Told.model_validate({name: document.body[name] for name in Told.model_fields})


async def _keep(services: Services, session: Session, document: Document | None, told: Told) -> None:
    listing = {"kind": _OWED, "created_at": told.since.isoformat(), "owner": session.owner} if told.owed else {}
    body = told.model_dump(mode="json") | listing
    try:
        if document is None:
            await services.store.create(session.id, _TOLD, body)
        else:
            await services.store.replace(document, body)
    except (Conflict, PreconditionFailed):
        return  # a repeat of this very activity, or the janitor, told it as well


async def _send(services: Services, session: Session, news: Turned, devices: list[Device]) -> list[str]:
    """Ids of those that are to be tried again."""
    push = WebPush.of(services.settings)
    async with httpx.AsyncClient(timeout=TIME) as http:
        passed = await asyncio.gather(*(_reached(services, push, http, session, news, each) for each in devices))
    return [device.id for device, settled in zip(devices, passed, strict=True) if not settled]


async def _reached(
    services: Services, push: WebPush, http: httpx.AsyncClient, session: Session, news: Turned, device: Device
) -> bool:
    """False: try again later."""
    message = Message(
        title=title(session),
        body=words(device.language)(f"push.{news.reason}"),
        url=f"/sessions/{session.id}",
        tag=session.id,
        urgency="normal" if news.moment is Moment.DONE else "high",
    )
    try:
        if device.server_key != push.public_key:
            raise Gone("it subscribed with an earlier signing key")
        async with asyncio.timeout(TIME):
            await push.send(http, device.subscription, message)
    except Gone as error:
        _log.info("device %s is removed: %s", device.id, error)
        await remove(services.store, device.id)
    except Permanent as error:
        _log.error("session %s: device %s could not be told: %s", session.id, device.id, error)
    except (Retryable, TimeoutError) as error:
        _log.warning("session %s: device %s is told later: %s", session.id, device.id, error or "no answer in time")
        return False
    return True
