"""Machines as virtual machines in Azure. What one is made of is in vm.py, what Azure refuses with in refusals.py.

Every call looks at the machine and takes the one step that is due; nothing is waited for, and nothing is kept
between calls but what Azure keeps. A step that cannot be taken yet is a Retryable: the caller comes again.

    begin_start    absent: create | an older start runs: stop it | at rest: hand over the new generation | start

Two hosts that act at once are told apart by Azure: a create demands that there is none, a hand-over that nothing
changed since the look (ETag).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any, cast

from azure.core import MatchConditions
from azure.core.credentials import AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import AzureKeyCredentialPolicy
from azure.core.rest import HttpRequest
from azure.mgmt.compute.aio import ComputeManagementClient
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nightshift.errors import Retryable
from nightshift.machines import vm
from nightshift.machines.local import machine_name
from nightshift.machines.refusals import Gone, InTheWay, NoRoom, translate
from nightshift.machines.vm import Machine
from nightshift.models import MachineInfo, MachineSpec, MachineState, Power
from nightshift.settings import VirtualMachines

VERSION = "2024-07-01"
PARTS = {"Microsoft.Compute/disks": "2024-03-02", "Microsoft.Network/networkInterfaces": "2024-01-01"}
"""API versions: those whose OpenAPI all requests were checked against (tests/machines)."""
_AT_ONCE = 8
"""Requests under way when many machines are looked at."""

_log = logging.getLogger(__name__)


def connect(settings: VirtualMachines, credential: AsyncTokenCredential | None) -> ComputeManagementClient:
    """A client that tries once: what it cannot know is decided by the next look, never by sending again.

    (The HTTP library repeats a GET, PUT or DELETE whose kept connection broke. A create that is repeated finds that
    there is a machine, a deletion that there is none.)

    `credential`: None only for an emulator on this machine, which gets no token, for there is no TLS.
    """
    options: dict[str, Any] = {}
    if settings.arm_url.startswith("http://"):
        key = AzureKeyCredential("local")
        options["authentication_policy"] = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
        credential = cast(Any, key)
    assert credential is not None, "Azure wants to know who asks"
    return ComputeManagementClient(
        credential,
        settings.resource_group.split("/")[2],
        settings.arm_url,
        credential_scopes=[f"{settings.arm_url}/.default"],
        retry_total=0,
        connection_timeout=10,
        read_timeout=60,
        **options,
    )


class AzureMachines:
    """`Machines` in a resource group that holds nothing else."""

    def __init__(self, settings: VirtualMachines, client: ComputeManagementClient) -> None:
        self._settings = settings
        self._client = client
        self._group = settings.resource_group.rstrip("/").rpartition("/")[2]

    async def begin_start(self, spec: MachineSpec) -> None:
        machine = await self._look(machine_name(spec.session_id))
        if machine is None:
            await self._create(spec)
        elif machine.generation == spec.generation:
            await self._go_on(machine)
        elif machine.generation < spec.generation:
            await self._replace(machine, spec)
        else:
            _log.info("%s: start %s comes late, %s was asked for", machine.name, spec.generation, machine.generation)

    async def state(self, session_id: str) -> MachineState:
        machine = await self._look(machine_name(session_id))
        return MachineState(power=Power.ABSENT) if machine is None else machine.state

    async def begin_deallocate(self, session_id: str) -> None:
        try:
            await self._deallocate(machine_name(session_id))
        except Gone:
            _log.info("%s: nothing to stop", machine_name(session_id))

    async def begin_delete(self, session_id: str) -> None:
        """The machine takes its disk and network interface along; what it left behind goes once it is gone."""
        name = machine_name(session_id)
        if await self._look(name) is None:
            await self._sweep(session_id)
            return
        with _asking():
            await self._client.virtual_machines.begin_delete(self._group, name, polling=False, api_version=VERSION)

    async def list_all(self) -> list[MachineInfo]:
        """All machines, and as ABSENT what lost ones left behind: `begin_delete` of those removes it."""
        # Parts first: one whose machine is being created meanwhile has it in the second list.
        parts = [name async for name, _ in self._parts()]
        with _asking():
            everything = self._client.virtual_machines.list(self._group, api_version=VERSION)
            names = [each["name"] async for each in everything if vm.SESSION in (each.get("tags") or {})]
        machines = [each for each in await self._look_at(names) if each is not None]
        kept = {name.casefold() for name in names}
        left = {session: name for name in parts if (session := vm.session_of_part(name)) is not None}
        return [machine.info for machine in machines] + [
            MachineInfo(name=name, session_id=session, power=Power.ABSENT, generation=0)
            for session, name in left.items()
            if machine_name(session).casefold() not in kept
        ]

    async def close(self) -> None:
        await self._client.close()

    # --- the steps of a start ---------------------------------------------------------------------------

    async def _create(self, spec: MachineSpec) -> None:
        """With the first size and zone that Azure has room for."""
        key = self._settings.ssh_key or await asyncio.to_thread(_throw_away_key)
        refused: NoRoom | None = None
        for size, zone in itertools.product(self._settings.sizes, self._settings.zones or (None,)):
            body = vm.create(self._settings, spec, key, size, zone)
            try:
                with _asking():
                    await self._client.virtual_machines.begin_create_or_update(
                        self._group,
                        machine_name(spec.session_id),
                        cast(Any, body),
                        match_condition=MatchConditions.IfMissing,
                        polling=False,
                        api_version=VERSION,
                    )
                return
            except NoRoom as error:
                _log.warning("%s: no %s in zone %s: %s", machine_name(spec.session_id), size, zone, error)
                refused = error
            except InTheWay:
                if await self._look(machine_name(spec.session_id)) is None:
                    await self._sweep(spec.session_id)
                raise
        assert refused is not None, "settings have at least one size"
        raise refused

    async def _replace(self, machine: Machine, spec: MachineSpec) -> None:
        """An older start's machine: bring it to rest, then make it this one's."""
        if not machine.at_rest:
            if machine.power not in ("deallocating", "deallocated") and machine.provisioning != "deleting":
                await self._deallocate(machine.name)
            raise Retryable(f"{machine.name} is on its way out of start {machine.generation}", retry_after=5)
        sizes = self._settings.sizes
        size = self._next_size(machine) if machine.lacks_room else sizes[0]
        changed = await self._update(machine, vm.hand_over(machine, spec, size or sizes[0]))
        await self._go_on(changed)

    async def _go_on(self, machine: Machine) -> None:
        """A machine that was told this generation. One that failed is left as it is: `state` says so."""
        if machine.power in ("starting", "running", "stopped") or machine.provisioning == "creating" or machine.failed:
            return
        if not machine.at_rest:
            raise Retryable(f"{machine.name} cannot be started yet", retry_after=2)
        try:
            with _asking():
                await self._client.virtual_machines.begin_start(
                    self._group, machine.name, polling=False, api_version=VERSION
                )
        except NoRoom as error:
            if (size := self._next_size(machine)) is None:
                raise
            _log.warning("%s: no %s, trying %s: %s", machine.name, machine.size, size, error)
            await self._update(machine, vm.resize(size))
            raise Retryable(f"{machine.name} becomes a {size}", retry_after=2) from error

    def _next_size(self, machine: Machine) -> str | None:
        """None after the last. A size that is in the settings no more counts as one before the first."""
        sizes = self._settings.sizes
        rest = sizes[sizes.index(machine.size) + 1 :] if machine.size in sizes else sizes
        return rest[0] if rest else None

    # --- requests ---------------------------------------------------------------------------------------

    async def _look(self, name: str) -> Machine | None:
        try:
            with _asking():
                return vm.read(
                    await self._client.virtual_machines.get(
                        self._group, name, expand="instanceView", api_version=VERSION
                    )
                )
        except Gone:
            return None

    async def _look_at(self, names: list[str]) -> list[Machine | None]:
        """A list of machines does not say which of them run."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def look(name: str) -> Machine | None:
            async with gate:
                return await self._look(name)

        return await asyncio.gather(*map(look, names))

    async def _update(self, machine: Machine, change: vm.Body) -> Machine:
        """Raises Changed if it changed since it was looked at."""
        with _asking():
            await self._client.virtual_machines.begin_update(
                self._group,
                machine.name,
                cast(Any, change),
                etag=machine.etag,
                match_condition=MatchConditions.IfNotModified,
                polling=False,
                api_version=VERSION,
            )
        changed = await self._look(machine.name)
        if changed is None:
            raise Gone(f"{machine.name} went away while it was changed")
        return changed

    async def _deallocate(self, name: str) -> None:
        with _asking():
            await self._client.virtual_machines.begin_deallocate(self._group, name, polling=False, api_version=VERSION)

    async def _parts(self) -> AsyncGenerator[tuple[str, str]]:
        """(name, URL) of each disk and network interface that is attached to nothing.

        Plainly over HTTP: the SDK of Microsoft.Network would be a large package for two requests.
        """
        for kind, version in PARTS.items():
            url = f"{self._settings.arm_url}{self._settings.resource_group}/providers/{kind}"
            next_page: str | None = f"{url}?api-version={version}"
            while next_page is not None:
                page = await self._send("GET", next_page)
                for part in page["value"]:
                    if not part.get("managedBy") and "virtualMachine" not in part["properties"]:
                        yield part["name"], f"{url}/{part['name']}?api-version={version}"
                next_page = page.get("nextLink")

    async def _sweep(self, session_id: str) -> None:
        async for name, url in self._parts():
            if vm.session_of_part(name) == session_id:
                _log.info("%s was left behind and is deleted", name)
                await self._send("DELETE", url)

    async def _send(self, method: str, url: str) -> Any:
        with _asking():
            response = await self._client.send_request(HttpRequest(method, url))
            response.raise_for_status()
            return response.json() if response.content else None


@contextmanager
def _asking() -> Generator[None]:
    """Azure's errors as ours."""
    try:
        yield
    except AzureError as error:
        raise translate(error) from error


def _throw_away_key() -> str:
    """A public key whose private half nobody has: Azure wants a way to log in, and there shall be none."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
