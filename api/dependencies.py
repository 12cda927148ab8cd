"""What handlers ask for by type: the services, the doorbell, the idempotency key; and how they wait."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Header, Query, Request

from api.doorbell import Doorbell, current_doorbell
from nightshift.models import new_id
from nightshift.services import Services

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks of a long poll."""


async def _services(request: Request) -> Services:
    provide: Callable[[], Services] = request.app.state.services
    return provide()


async def _doorbell() -> Doorbell:
    return current_doorbell.get()


type ServicesDep = Annotated[Services, Depends(_services)]
type DoorbellDep = Annotated[Doorbell, Depends(_doorbell)]
type IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x20-\x7e]{1,128}$",
        description="Repeating a request with the same key does nothing twice and answers the same.",
    ),
]
type After = Annotated[int, Query(ge=0, lt=10**12, description="Only what has a greater seq.")]
type Wait = Annotated[float, Query(ge=0, le=25, description="Seconds to wait for something new, if there is nothing.")]


def entry_id(subject: str, key: str | None) -> str:
    """The id of an item or control: one person's key always means the same entry."""
    return new_id() if key is None else f"key-{digest(subject, key)[:32]}"


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


async def poll[T](look: Callable[[], Awaitable[T]], enough: Callable[[T], bool], wait: float) -> T:
    """Look until it is enough, for at most `wait` seconds; the last look is the answer."""
    clock = asyncio.get_running_loop().time
    pause, end = _FIRST_PAUSE, clock() + wait
    while not enough(found := await look()):
        left = end - clock()
        if left <= 0:
            break
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return found
