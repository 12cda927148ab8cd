"""Calls the machines as an orchestration does: what may be tried again is tried again, later."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from nightshift.errors import Retryable
from nightshift.machines.azure import AzureMachines
from nightshift.models import MachineSpec, MachineState, Power
from nightshift.ports import Machines
from nightshift.testing.arm import Arm

TRIES = 30
TOKEN = "token-of-session"


class Clock:
    """Azure's time, which only the caller's patience moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 5, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float = 5) -> None:
        self.now += timedelta(seconds=seconds)


@asynccontextmanager
async def with_settings(arm: Arm, **changes: Any) -> AsyncGenerator[AzureMachines]:
    async with arm.client() as client:
        yield AzureMachines(arm.settings(**changes), client)


def spec(generation: int, session: str = "s-1") -> MachineSpec:
    return MachineSpec(
        session_id=session, generation=generation, api_url="https://nightshift.example", token=f"{TOKEN}-{generation}"
    )


async def patiently(call: Callable[[], Awaitable[None]], clock: Clock, tries: int = TRIES) -> None:
    for _ in range(tries):
        try:
            return await call()
        except Retryable:
            clock.wait()
    raise AssertionError("it never came to an end")


async def start(machines: Machines, generation: int, clock: Clock, session: str = "s-1") -> None:
    await patiently(lambda: machines.begin_start(spec(generation, session)), clock)


async def until(machines: Machines, power: Power, clock: Clock, session: str = "s-1") -> MachineState:
    """The state, once it is this. Fails with what it was instead."""
    seen = await machines.state(session)
    for _ in range(TRIES):
        if seen.power is power:
            return seen
        clock.wait()
        seen = await machines.state(session)
    raise AssertionError(f"it stays {seen}")
