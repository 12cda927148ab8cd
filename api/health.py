"""Is it up, and can it work? Answers without credentials, and tells nobody more than names."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import DoorbellDep, ServicesDep
from nightshift import __version__
from nightshift.models import Model

router = APIRouter(prefix="/api", tags=["health"])
_log = logging.getLogger(__name__)
_PROBE = "readiness"
"""The session that is asked for. There is none of this name: the point is that somebody says so."""
_PATIENCE = 5.0
"""Seconds."""
_KEPT = 5.0
"""Seconds for which an answer is given again: whoever asks without end costs the dependencies nothing."""


type Name = Literal["store", "files", "hub", "machines"]


class Health(Model):
    status: Literal["ok"] = "ok"
    version: str = __version__


class Dependency(Model):
    name: Name
    ok: bool
    milliseconds: int


class Readiness(Model):
    status: Literal["ready", "not_ready"]
    version: str = __version__
    dependencies: list[Dependency]


@router.get("/health", summary="Whether the app answers")
async def get_health() -> Health:
    return Health()


async def _readiness(request: Request, services: ServicesDep, doorbell: DoorbellDep) -> Readiness:
    state = request.app.state
    asked, readiness = getattr(state, "readiness", (0.0, None))
    if readiness is None or time.monotonic() - asked > _KEPT:
        probes: dict[Name, Callable[[], Awaitable[object]]] = {
            "store": lambda: services.store.read(_PROBE, _PROBE),
            "files": lambda: services.blobs.list(_PROBE),
            "hub": lambda: doorbell.knows(_PROBE),
            "machines": lambda: services.machines.state(_PROBE),
        }
        found = await asyncio.gather(*(_look(name, probe) for name, probe in probes.items()))
        readiness = Readiness(status="ready" if all(each.ok for each in found) else "not_ready", dependencies=found)
        state.readiness = time.monotonic(), readiness
    return readiness


type ReadinessDep = Annotated[Readiness, Depends(_readiness)]
"""As it was found in the last seconds."""


@router.get("/ready", summary="Whether everything that it needs answers", responses={503: {"model": Readiness}})
async def get_readiness(readiness: ReadinessDep, response: Response) -> Readiness:
    if readiness.status != "ready":
        response.status_code = 503
    return readiness


async def _look(name: Name, probe: Callable[[], Awaitable[object]]) -> Dependency:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE):
            await probe()
        ok = True
    except Exception as fault:
        # Whatever it was, it is why the app is not ready. The reason is for operators, not for whoever asks.
        _log.warning("not ready: %s: %s: %s", name, type(fault).__name__, fault)
        ok = False
    return Dependency(name=name, ok=ok, milliseconds=round((time.monotonic() - begun) * 1000))
