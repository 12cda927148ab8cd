"""Telling a session's owner, on their devices, that it came to need them, is done or failed; and a webhook.

A projection is followed by one try for each device, with a time limit: what a push service could not take is noted
as owed, and the janitor tries again. A process that dies in between does it all again, and the browser puts a repeat
in the place of what it shows already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import datetime, timedelta

import httpx
from pydantic import Field

from nightshift.devices import Device, list_devices, remove
from nightshift.errors import Conflict, NotFound, Permanent, PreconditionFailed, Retryable
from nightshift.log import utc_now
from nightshift.models import Model, Session
from nightshift.moments import Moment, Turned, turned
from nightshift.people import read_places
from nightshift.ports import Document
from nightshift.services import Services
from nightshift.settings import Settings, Webhook
from nightshift.webhook import News, deliver
from nightshift.webpush import Gone, Message, WebPush
from nightshift.words import words

TIME = 3.0
"""Seconds that push services get: the session waits for them."""
GIVEN_UP = timedelta(hours=1)
"""News older than this are no news."""
WEBHOOK = "webhook"
_TOLD, _OWED = "told", "owed"
_log = logging.getLogger(__name__)


class Told(Model):
    """What the owner was told last; one document of the session."""

    key: str
    since: datetime
    owed: list[str] = Field(default=[])
    """Who is still to be told: ids of devices, and `WEBHOOK`."""


async def tell(services: Services, session: Session) -> None:
    """Once for what the session came to. Raises nothing of the push services'."""
    news = turned(session)
    if news is None:
        return
    document = await services.store.read(session.id, _TOLD)
    told = _told(document)
    if told is not None and told.key == news.key and not told.owed:
        return
    if news.moment is Moment.DONE and await _was_interrupted(services, session):
        return
    devices = {each.id: each for each in await list_devices(services.store, session.owner)}
    if told is None or told.key != news.key:
        owed = [each.id for each in devices.values() if news.moment in each.moments]
        owed += [WEBHOOK] if services.settings.webhook else []
        told = Told(key=news.key, since=utc_now(), owed=owed)
        if not owed:
            return
    if (await read_places(services.store, session.owner)).get(session.id, 0) >= session.item_seq:
        devices.clear()
    owed = await _send(services, session, news, told, devices)
    if owed and utc_now() - told.since > GIVEN_UP:
        _log.warning("session %s: given up after an hour: %s", session.id, ", ".join(owed))
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


async def _send(
    services: Services, session: Session, news: Turned, told: Told, devices: dict[str, Device]
) -> list[str]:
    """One try for each that is owed; returns those that are to be tried again. A device that is gone, or whose owner
    has read it meanwhile, is not."""
    async with httpx.AsyncClient(timeout=TIME) as http:
        tries = {id: _to_device(services, http, session, news, devices[id]) for id in told.owed if id in devices}
        if WEBHOOK in told.owed and services.settings.webhook is not None:
            tries[WEBHOOK] = _to_webhook(http, services.settings, services.settings.webhook, session, news, told)
        settled = await asyncio.gather(*(_settled(session, name, attempt) for name, attempt in tries.items()))
    return [name for name, is_settled in zip(tries, settled, strict=True) if not is_settled]


async def _settled(session: Session, name: str, attempt: Awaitable[None]) -> bool:
    """False: try again later."""
    try:
        async with asyncio.timeout(TIME):
            await attempt
    except Permanent as error:
        _log.error("session %s: %s could not be told: %s", session.id, name, error)
    except (Retryable, TimeoutError) as error:
        _log.warning("session %s: %s is told later: %s", session.id, name, error or "no answer in time")
        return False
    except Exception:  # ours; without its news a session goes on, and must
        _log.exception("session %s: %s could not be told", session.id, name)
    return True


async def _to_device(
    services: Services, http: httpx.AsyncClient, session: Session, news: Turned, device: Device
) -> None:
    push = WebPush.of(services.settings)
    message = Message(
        title=session.shown_title,
        body=words(device.language)(f"push.{news.reason}"),
        url=f"/sessions/{session.id}",
        tag=session.id,
        urgency="normal" if news.moment is Moment.DONE else "high",
    )
    try:
        if device.server_key != push.public_key:
            raise Gone("it subscribed with an earlier signing key")
        await push.send(http, device.subscription, message)
    except Gone as error:
        _log.info("device %s is removed: %s", device.id, error)
        await remove(services.store, device.id)


async def _to_webhook(
    http: httpx.AsyncClient, settings: Settings, webhook: Webhook, session: Session, news: Turned, told: Told
) -> None:
    tidings = News(
        id=f"{session.id}:{told.key}",
        at=told.since,
        session=session.id,
        owner=session.owner,
        title=session.shown_title,
        phase=session.phase,
        reason=news.reason,
        url=f"{settings.public_url}/sessions/{session.id}",
    )
    await deliver(http, webhook, tidings)
