"""What every adapter of the Machines port does, whatever its machines are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nightshift.machines.azure import AzureMachines
from nightshift.machines.local import LocalMachines
from nightshift.models import MachineSpec, Power
from nightshift.ports import Machines
from nightshift.testing.arm import GROUP, Arm
from nightshift.testing.cloud import Cloud
from nightshift.testing.contract import Contract
from nightshift.testing.hardware import LocalHardware
from tests.machines.caller import Clock, patiently, start, until


class Silent(LocalMachines):
    """Real worker processes, whose control plane takes calls and never answers."""

    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root)
        self._url = url

    async def begin_start(self, spec: MachineSpec) -> None:
        await super().begin_start(spec.model_copy(update={"api_url": self._url}))


@asynccontextmanager
async def silence() -> AsyncGenerator[str]:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    server.close_clients()
    await server.wait_closed()


@pytest.fixture(params=["local", "azure", "azure with processes"])
async def machines(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, contract: Contract
) -> AsyncIterator[Machines]:
    async with silence() as url:
        local = Silent(tmp_path, url)
        if request.param == "local":
            yield local
        else:
            hardware = LocalHardware(local) if request.param == "azure with processes" else None
            arm = Arm(Cloud(GROUP, now=clock, latency=3), contract, hardware)
            await arm.start()
            async with arm.client() as client:
                yield AzureMachines(arm.settings(), client)
            await arm.stop()
            assert arm.problems == []
        await local.begin_delete("s-1")


async def test_nothing_is_there_at_first(machines: Machines) -> None:
    assert (await machines.state("s-1")).power is Power.ABSENT
    await machines.begin_deallocate("s-1")
    await machines.begin_delete("s-1")
    assert await machines.list_all() == []


async def test_a_start_runs_and_again_changes_nothing(machines: Machines, clock: Clock) -> None:
    await start(machines, 1, clock)
    first = await until(machines, Power.RUNNING, clock)
    assert first.generation == 1
    assert first.failure is None
    await start(machines, 1, clock)
    assert (await machines.state("s-1")).power is Power.RUNNING
    (info,) = await machines.list_all()
    assert (info.session_id, info.generation, info.power) == ("s-1", 1, Power.RUNNING)
    assert info.started_at is not None


async def test_put_to_rest_and_woken_as_the_next_generation(machines: Machines, clock: Clock) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    for _ in range(2):
        await patiently(lambda: machines.begin_deallocate("s-1"), clock)
        await until(machines, Power.DEALLOCATED, clock)
    await start(machines, 2, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 2


async def test_an_older_start_that_runs_is_stopped_first(machines: Machines, clock: Clock) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    await start(machines, 2, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 2


async def test_a_late_start_changes_nothing(machines: Machines, clock: Clock) -> None:
    await start(machines, 3, clock)
    await until(machines, Power.RUNNING, clock)
    await start(machines, 2, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 3


async def test_two_starts_at_once(machines: Machines, clock: Clock) -> None:
    async def one(generation: int) -> None:
        await start(machines, generation, clock)

    await asyncio.gather(one(1), one(1))
    assert (await until(machines, Power.RUNNING, clock)).generation == 1
    await asyncio.gather(one(2), one(3))
    await start(machines, 3, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 3
    assert len(await machines.list_all()) == 1


async def test_deleted_and_made_anew(machines: Machines, clock: Clock) -> None:
    await start(machines, 1, clock)
    await until(machines, Power.RUNNING, clock)
    for _ in range(2):
        await patiently(lambda: machines.begin_delete("s-1"), clock)
        await until(machines, Power.ABSENT, clock)
    assert await machines.list_all() == []
    await start(machines, 2, clock)
    assert (await until(machines, Power.RUNNING, clock)).generation == 2


async def test_sessions_do_not_touch_each_other(machines: Machines, clock: Clock) -> None:
    await start(machines, 1, clock, "s-1")
    await start(machines, 1, clock, "s-1-nic")  # like the name of a part of the other's
    try:
        await until(machines, Power.RUNNING, clock, "s-1-nic")
        await patiently(lambda: machines.begin_delete("s-1"), clock)
        await until(machines, Power.ABSENT, clock, "s-1")
        assert (await until(machines, Power.RUNNING, clock, "s-1-nic")).generation == 1
        assert [each.session_id for each in await machines.list_all()] == ["s-1-nic"]
    finally:
        await patiently(lambda: machines.begin_delete("s-1-nic"), clock)
        await until(machines, Power.ABSENT, clock, "s-1-nic")
