"""What a person may set: look, notifications, what their sessions begin with, templates, API keys."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from api.pages.frame import FrameDep
from api.pages.route import PageRoute
from nightshift.agents import list_agents
from nightshift.devices import list_devices
from nightshift.keys import Scope, list_keys
from nightshift.log import utc_now
from nightshift.moments import Moment
from nightshift.people import preferences
from nightshift.webpush import WebPush

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/settings")
async def show_settings(frame: FrameDep) -> Response:
    store, principal = frame.services.store, frame.principal
    kept, keys, devices, agents = await asyncio.gather(
        preferences(store, principal.subject),
        list_keys(store, principal.sees),
        list_devices(store, principal.subject),
        list_agents(store, principal.subject),
    )
    return await frame.page(
        "settings.html",
        preferences=kept,
        keys=keys,
        devices=devices,
        moments=list(Moment),
        push_key=WebPush.of(frame.services.settings).public_key,
        agents=agents,
        scopes=[scope for scope in Scope if principal.may(scope)],
        now=utc_now(),
        models=sorted(frame.services.prices.models),
        model=frame.services.settings.model,
    )


@router.get("/settings/keys")
async def show_keys(frame: FrameDep) -> Response:
    keys = await list_keys(frame.services.store, frame.principal.sees)
    return frame.fragment("_keys.html", keys=keys, now=utc_now())


@router.get("/settings/devices")
async def show_devices(frame: FrameDep) -> Response:
    devices = await list_devices(frame.services.store, frame.principal.subject)
    return frame.fragment("_devices.html", devices=devices)
