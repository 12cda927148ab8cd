"""What a person may set: look, what their sessions begin with, templates, API keys."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from api.pages.frame import FrameDep
from api.pages.route import PageRoute
from nightshift.keys import Scope, list_keys
from nightshift.log import utc_now
from nightshift.people import preferences

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/settings")
async def show_settings(frame: FrameDep) -> Response:
    store, principal = frame.services.store, frame.principal
    kept, keys = await asyncio.gather(preferences(store, principal.subject), list_keys(store, principal.sees))
    return await frame.page(
        "settings.html",
        preferences=kept,
        keys=keys,
        scopes=[scope for scope in Scope if principal.may(scope)],
        now=utc_now(),
        models=sorted(frame.services.prices.models),
        model=frame.services.settings.model,
    )


@router.get("/settings/keys")
async def show_keys(frame: FrameDep) -> Response:
    keys = await list_keys(frame.services.store, frame.principal.sees)
    return frame.fragment("_keys.html", keys=keys, now=utc_now())
