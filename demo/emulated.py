"""Azure on this machine: Cosmos DB, Storage, the resource manager and managed identities, all emulated.

What the app and its workers do is what they do in Azure: settings say where things are, and each signs in as itself.
Machines are described by the resource manager and run as processes here.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from rich.console import Console

from nightshift.errors import Permanent
from nightshift.machines.local import LocalMachines
from nightshift.testing.arm import GROUP, Arm
from nightshift.testing.cloud import Cloud
from nightshift.testing.emulators import servers
from nightshift.testing.emulators.deployed import make_container, make_database
from nightshift.testing.emulators.identity import managed_identity
from nightshift.testing.hardware import LocalHardware

LATENCY = 0.5
"""Seconds that an operation of the resource manager takes; in Azure it is a minute."""


@asynccontextmanager
async def azure(folder: Path, console: Console) -> AsyncGenerator[Arm]:
    """The environment says where they are. Afterwards no process of theirs is left, nor a machine."""
    folder.mkdir()
    if not servers.INSTALLED.exists():
        console.print(f"emulators       installing them by npm into {servers.INSTALLED} ...", highlight=False)
    modules = servers.installed()
    if modules is None:
        raise Permanent(
            "The emulators of Azure need node and npm", "Put them on PATH, or run `make demo` without AZURE."
        )
    async with AsyncExitStack() as stack:
        cosmos = stack.enter_context(servers.cosmos(modules))
        account, _ = stack.enter_context(servers.azurite(modules, folder))
        identity = await stack.enter_async_context(managed_identity())
        hardware = LocalMachines(folder / "hardware", identity)
        arm = Arm(Cloud(GROUP, latency=LATENCY), hardware=LocalHardware(hardware))
        await arm.start()
        stack.push_async_callback(_switch_off, arm, hardware)
        vms = arm.settings()
        os.environ |= identity
        os.environ |= {
            "NIGHTSHIFT_COSMOS_ENDPOINT": cosmos,
            "NIGHTSHIFT_COSMOS_DATABASE": await make_database(cosmos),
            "NIGHTSHIFT_BLOBS_URL": await make_container(account),
            "NIGHTSHIFT_ARM_URL": arm.url,
            "NIGHTSHIFT_VM_RESOURCE_GROUP": vms.resource_group,
            "NIGHTSHIFT_VM_LOCATION": vms.location,
            "NIGHTSHIFT_VM_SUBNET": vms.subnet,
            "NIGHTSHIFT_VM_IMAGE": vms.image,
            "NIGHTSHIFT_VM_IDENTITY": vms.identity,
            "NIGHTSHIFT_MODEL_AUTH": "identity",
        }
        for name, url in (("Cosmos DB", cosmos), ("Blob Storage", account), ("Azure machines", arm.url)):
            console.print(f"{name:<15} {url} (emulated)", highlight=False)
        yield arm


async def _switch_off(arm: Arm, hardware: LocalMachines) -> None:
    await arm.stop()
    for machine in await hardware.list_all():
        await hardware.begin_delete(machine.session_id)
