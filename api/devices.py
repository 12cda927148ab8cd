"""Devices: everybody registers, lists and removes the browsers that they are told on. Nobody sees anybody else's."""

from __future__ import annotations

from typing import Annotated

import httpx
from fastapi import APIRouter, Header
from pydantic import Field

from api.audit import note
from api.auth import KEY_SCHEMES, Reader, Writer
from api.dependencies import ServicesDep
from nightshift import devices
from nightshift.devices import DeviceView, device_id, own_device
from nightshift.errors import NotFound, Permanent, Unprocessable
from nightshift.models import Model, new_id
from nightshift.moments import Moment
from nightshift.webpush import Gone, Message, Subscription, WebPush
from nightshift.words import LANGUAGES, words

router = APIRouter(prefix="/api/devices", tags=["devices"], dependencies=KEY_SCHEMES)
_TIMEOUT = 10.0
_BROWSERS = {"Edg": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "FxiOS/": "Firefox", "Chrom": "Chrome"}
_SYSTEMS = {"iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "Mac OS X": "Mac"}
"""What a browser says of itself, the most telling first."""


class NewDevice(Model):
    subscription: Subscription
    """`PushSubscription.toJSON()`, made with `key` of `GET /api/devices`."""
    moments: list[Moment] = Field(default=list(Moment), min_length=1)
    """What it is told of: needs (approval, plan, budget, limit), done, failed."""
    language: Annotated[str, Field(pattern=f"^({'|'.join(LANGUAGES)})$")] = "en"


class Devices(Model):
    devices: list[DeviceView]
    key: str
    """What a browser subscribes with (`applicationServerKey`)."""


@router.get("", summary="List the browsers that you are told on, newest first")
async def list_own_devices(principal: Reader, services: ServicesDep) -> Devices:
    found = await devices.list_devices(services.store, principal.subject)
    return Devices(devices=[_view(device) for device in found], key=WebPush.of(services.settings).public_key)


@router.put("", summary="Be told on this browser, or change of what")
async def put_device(
    new: NewDevice, principal: Writer, services: ServicesDep, user_agent: Annotated[str, Header()] = ""
) -> DeviceView:
    push = WebPush.of(services.settings)
    if not push.knows(new.subscription.endpoint):
        raise Unprocessable(
            "This browser's push service is none that this deployment knows; an administrator can add it "
            "(NIGHTSHIFT_PUSH_SERVICES)",
            "unknown-push-service",
        )
    await note(services, principal, "device.register", device_id(new.subscription.endpoint), new_id())
    device = await devices.register(
        services.store,
        principal.subject,
        new.subscription,
        new.moments,
        name=_name(user_agent),
        language=new.language,
        server_key=push.public_key,
    )
    return _view(device)


@router.post("/{id}/test", status_code=204, summary="Send a notification to one of your browsers, now")
async def test_device(id: str, principal: Writer, services: ServicesDep) -> None:
    device = await own_device(services.store, principal.subject, id)
    text = words(device.language)("push.test")
    message = Message(title="Nightshift", body=text, url="/settings", tag="test", urgency="high")
    push = WebPush.of(services.settings)
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
            await push.send(http, device.subscription, message)
    except Gone as error:
        await devices.remove(services.store, id)
        detail = "This browser took its subscription back; turn notifications on again"
        raise NotFound(detail, "browser-gone") from error
    except Permanent as error:
        raise Unprocessable(f"{error}. {error.advice}".strip(), "push-refused", reason=error) from error


@router.delete("/{id}", status_code=204, summary="Be told on this browser no more")
async def delete_device(id: str, principal: Writer, services: ServicesDep) -> None:
    await own_device(services.store, principal.subject, id)
    await note(services, principal, "device.remove", id, new_id())
    await devices.remove(services.store, id)


def _view(device: DeviceView) -> DeviceView:
    return DeviceView.model_validate(device.model_dump(include=set(DeviceView.model_fields)))


def _name(user_agent: str) -> str:
    browser = next((name for mark, name in _BROWSERS.items() if mark in user_agent), "Safari")
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), "Linux")
    return f"{browser}, {system}"
