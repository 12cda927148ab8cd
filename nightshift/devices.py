"""Devices: the browsers that a person is told on. One is known by its subscription's endpoint, which stays secret."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from datetime import datetime

from pydantic import Field

from nightshift.errors import Conflict, NotFound, PreconditionFailed, Unprocessable
from nightshift.log import utc_now
from nightshift.models import Model
from nightshift.moments import Moment
from nightshift.ports import Document, Store
from nightshift.webpush import Subscription

MOST = 10
"""Devices of one person."""
_PARTITION = "devices"
_KIND = "device"


class DeviceView(Model):
    """A device as its owner may see it: without what opens it."""

    id: str
    """Follows from the endpoint: its SHA-256 in hex, the first 32 characters."""
    name: str = Field(max_length=100)
    """For people to tell theirs apart."""
    moments: list[Moment]
    created_at: datetime


class Device(DeviceView):
    owner: str
    language: str
    server_key: str
    """What the browser subscribed with. Once ours is another, the push service takes nothing for this device."""
    subscription: Subscription = Field(repr=False)


def device_id(endpoint: str) -> str:
    return hashlib.sha256(endpoint.encode()).hexdigest()[:32]


async def register(
    store: Store,
    owner: str,
    subscription: Subscription,
    moments: Collection[Moment],
    *,
    name: str,
    language: str,
    server_key: str,
) -> Device:
    """From now on this browser is told. Again, it changes what the device is told of and how.

    A browser is one person's at a time: whoever registers it last, knowing its secret. Raises Unprocessable if the
    person has too many, Conflict if somebody else has this endpoint with another secret.
    """
    device = Device(
        id=device_id(subscription.endpoint),
        owner=owner,
        name=name,
        moments=[each for each in Moment if each in moments],
        created_at=utc_now(),
        language=language,
        server_key=server_key,
        subscription=subscription,
    )
    while True:
        document = await store.read(_PARTITION, device.id)
        known = None if document is None else _device(document)
        if known is not None and known.owner == owner:
            device = device.model_copy(update={"created_at": known.created_at})
        elif known is not None and not hmac.compare_digest(known.subscription.keys.auth, subscription.keys.auth):
            raise Conflict("This browser's subscription is somebody else's; turn it off and on again", "others-browser")
        elif len(await list_devices(store, owner)) >= MOST:
            detail = f"You have {MOST} devices already; take one away that you do not use any more"
            raise Unprocessable(detail, "too-many-devices", most=MOST)
        body = device.model_dump(mode="json") | {"kind": _KIND}
        try:
            if document is None:
                await store.create(_PARTITION, device.id, body)
            else:
                await store.replace(document, body)
            return device
        except (Conflict, PreconditionFailed):
            continue  # another tab registered it this very moment


async def list_devices(store: Store, owner: str) -> list[Device]:
    """Newest first."""
    found = await store.newest(_KIND, owner=owner, limit=2 * MOST)  # two at once may pass the limit
    return [_device(document) for document in found.documents]


async def own_device(store: Store, owner: str, id: str) -> Device:
    """Raises NotFound, also for somebody else's."""
    document = await store.read(_PARTITION, id)
    if document is None or document.body["owner"] != owner:
        raise NotFound(f"You have no device '{id}'", "no-device")
    return _device(document)


async def remove(store: Store, id: str) -> None:
    await store.delete(_PARTITION, id)


def _device(document: Document) -> Device:
    return Device.model_validate({name: document.body[name] for name in Device.model_fields if name in document.body})
