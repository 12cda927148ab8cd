"""Machines as containers: the adapter, the pool's stand-in and real containers with real workers in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from azure.core.credentials import AccessToken

from nightshift.errors import Permanent, Retryable
from nightshift.machines.containers import SCOPE, ContainerMachines
from nightshift.models import MachineSpec, Power
from nightshift.testing.pool import TOKEN, Pool, running
from tests.machines.test_machines_contract import silence


class Identity:
    """The app's identity, as far as the pool asks for it."""

    def __init__(self, token: str = TOKEN) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == (SCOPE,)
        return AccessToken(self._token, 2**40)

    async def close(self) -> None: ...

    async def __aenter__(self) -> Identity:
        return self

    async def __aexit__(self, exc_type: object = None, exc_value: object = None, traceback: object = None) -> None: ...


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[Pool]:
    async with running(tmp_path, most=3, page=1) as pool:
        yield pool


@pytest.fixture
async def machines(pool: Pool) -> AsyncIterator[ContainerMachines]:
    machines = ContainerMachines(pool.url, Identity())
    yield machines
    await machines.close()


@pytest.fixture
async def spec() -> AsyncIterator[MachineSpec]:
    """Of a session whose control plane takes calls and never answers."""
    async with silence() as url:
        yield MachineSpec(session_id="s-1", generation=1, api_url=url, token="token-of-session")


def workers(pool: Pool, name: str = "nightshift-s-1") -> list[psutil.Process]:
    return [
        child for child in psutil.Process(pool.sessions[name].process.pid).children() if "worker" in child.cmdline()
    ]


async def test_a_life_in_the_pool(machines: ContainerMachines, pool: Pool, spec: MachineSpec) -> None:
    assert (await machines.state("s-1")).power is Power.ABSENT
    assert pool.sessions == {}  # to look at it made none
    await machines.begin_start(spec)
    for _ in range(2):
        assert (await machines.state("s-1")).power is Power.RUNNING
        await machines.begin_start(spec)
    (worker,) = workers(pool)
    assert "token-of-session" not in " ".join([*worker.cmdline(), *worker.environ().values()])

    await machines.begin_start(spec.model_copy(update={"generation": 2}))
    state = await machines.state("s-1")
    assert (state.power, state.generation) == (Power.RUNNING, 2)
    assert len(workers(pool)) == 1
    assert not worker.is_running()
    await machines.begin_start(spec)  # late
    assert (await machines.state("s-1")).generation == 2

    await machines.begin_start(spec.model_copy(update={"session_id": "s-2"}))
    assert {each.session_id for each in await machines.list_all()} == {"s-1", "s-2"}
    (second,) = workers(pool)
    for _ in range(2):
        await machines.begin_deallocate("s-1")
        assert (await machines.state("s-1")).power is Power.ABSENT
    await machines.begin_delete("s-2")
    assert await machines.list_all() == []
    assert not second.is_running()


async def test_two_starts_at_once_are_one_worker(machines: ContainerMachines, pool: Pool, spec: MachineSpec) -> None:
    await asyncio.gather(*(machines.begin_start(spec) for _ in range(4)))
    assert len(workers(pool)) == 1


async def test_a_worker_that_died_is_told(machines: ContainerMachines, pool: Pool, spec: MachineSpec) -> None:
    await machines.begin_start(spec)
    (worker,) = workers(pool)
    worker.kill()
    while (state := await machines.state("s-1")).power is Power.RUNNING:
        pass
    assert state.power is Power.FAILED
    assert state.failure is not None
    assert "-9" in state.failure.reason
    await machines.begin_start(spec.model_copy(update={"generation": 2}))
    assert (await machines.state("s-1")).power is Power.RUNNING


async def test_a_container_for_one_session_takes_no_other(
    machines: ContainerMachines, pool: Pool, spec: MachineSpec
) -> None:
    await machines.begin_start(spec)
    async with running_client(pool) as client:
        answer = await client.post("/invocations", json=spec.model_copy(update={"session_id": "s-9"}).model_dump())
        assert (answer.status_code, answer.json()["reason"]) == (409, "it serves another session")
        answer = await client.post("/invocations", json={"session_id": "s-1"})
        assert answer.status_code == 422
        assert "generation" in answer.json()["detail"]


async def test_refusals_are_told_apart(machines: ContainerMachines, pool: Pool, spec: MachineSpec) -> None:
    stranger = ContainerMachines(pool.url, Identity("another"))
    with pytest.raises(Permanent) as refused:
        await stranger.begin_start(spec)
    assert "Session Executor" in refused.value.advice
    await stranger.close()
    for status in (429, 503):
        pool.faults.append(status)
        with pytest.raises(Retryable) as busy:
            await machines.begin_start(spec)
        assert busy.value.retry_after == 7
    pool.faults.append(400)
    with pytest.raises(Permanent):
        await machines.state("s-1")
    for number in range(3):
        await machines.begin_start(spec.model_copy(update={"session_id": f"s-{number}"}))
    with pytest.raises(Retryable, match="no container left"):
        await machines.begin_start(spec.model_copy(update={"session_id": "s-9"}))
    nobody = ContainerMachines("http://127.0.0.1:9", Identity())
    with pytest.raises(Retryable):
        await nobody.state("s-1")
    await nobody.close()


def running_client(pool: Pool) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=pool.sessions["nightshift-s-1"].url)
