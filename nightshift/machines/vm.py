"""A session's virtual machine as Azure describes it: what to ask for, and what its answer means. No calls.

    <name>                      the machine; its tags say whose it is and which start was asked for last
    <name>-os                   its disk; deleted with it
    <name>-nic[-<hex>]          its network interface (Azure may add to the name); deleted with it

The user data holds what the worker is handed (`MachineSpec`). It may be read by whoever may read the machine, so
nothing is in it that opens more than the one session.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nightshift.machines.local import machine_name
from nightshift.machines.refusals import NoRoom, refusal
from nightshift.models import Failure, MachineInfo, MachineSpec, MachineState, Power
from nightshift.settings import VirtualMachines

APP, SESSION, GENERATION, STARTED = "app", "nightshift-session", "nightshift-generation", "nightshift-started"
_PART = re.compile(re.escape(machine_name("")) + r"(?P<session>.+)-(os|nic(-[0-9a-f]+)?)", re.IGNORECASE)
type Body = dict[str, Any]
"""As it travels. The SDK's own types for it demand fields that the service does not."""
_PASSING = {"creating", "updating", "deleting", "migrating"}


# --- what to ask for --------------------------------------------------------------------------------------


def create(it: VirtualMachines, spec: MachineSpec, key: str, size: str, zone: str | None) -> Body:
    """The whole machine in one request."""
    name = machine_name(spec.session_id)
    body: Body = {
        "location": it.location,
        "tags": _tags(spec),
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {it.identity: {}}},
        "properties": {
            "hardwareProfile": {"vmSize": size},
            "storageProfile": {
                "imageReference": {"id": it.image},
                "osDisk": {
                    "name": f"{name}-os",
                    "createOption": "FromImage",
                    "deleteOption": "Delete",
                    "caching": "ReadWrite",
                    "diskSizeGB": it.disk_gb,
                    "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
                },
            },
            "networkProfile": {
                "networkApiVersion": "2020-11-01",
                "networkInterfaceConfigurations": [
                    {
                        "name": f"{name}-nic",
                        "properties": {
                            "primary": True,
                            "deleteOption": "Delete",
                            "ipConfigurations": [  # and no public address
                                {"name": "private", "properties": {"primary": True, "subnet": {"id": it.subnet}}}
                            ],
                        },
                    }
                ],
            },
            "osProfile": {
                "computerName": name,
                "adminUsername": "azureuser",
                "allowExtensionOperations": False,  # nothing is ever run on it from outside
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "ssh": {"publicKeys": [{"path": "/home/azureuser/.ssh/authorized_keys", "keyData": key}]},
                },
            },
            "securityProfile": {
                "securityType": "TrustedLaunch",
                "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
            },
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
            "userData": _user_data(spec),
        },
    }
    if it.spot:
        body["properties"] |= {"priority": "Spot", "evictionPolicy": "Deallocate", "billingProfile": {"maxPrice": -1}}
    if zone is not None:
        body["zones"] = [zone]
    return body


def hand_over(machine: Machine, spec: MachineSpec, size: str) -> Body:
    """The next generation for a machine that stands still."""
    update = resize(size)
    update["tags"] = machine.tags | _tags(spec)
    update["properties"]["userData"] = _user_data(spec)
    return update


def resize(size: str) -> Body:
    return {"properties": {"hardwareProfile": {"vmSize": size}}}


def _tags(spec: MachineSpec) -> dict[str, str]:
    return {
        APP: "nightshift",
        SESSION: spec.session_id,
        GENERATION: str(spec.generation),
        STARTED: datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _user_data(spec: MachineSpec) -> str:
    return base64.b64encode(spec.model_dump_json().encode()).decode()


# --- what the answer means --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """One look at a machine. Words of Azure are in lower case."""

    name: str
    etag: str | None
    tags: dict[str, str]
    size: str
    spot: bool
    provisioning: str
    """How the last operation on the machine stands: creating, updating, deleting, succeeded, failed."""
    power: str
    """starting, running, stopping, stopped, deallocating, deallocated; '' before it was ever put on a host."""
    agent_ready: bool
    code: str
    message: str
    """Of the last operation, if it failed."""

    @property
    def session_id(self) -> str:
        return self.tags[SESSION]

    @property
    def generation(self) -> int:
        return int(self.tags.get(GENERATION, "0"))

    @property
    def busy(self) -> bool:
        """An operation is under way; another one would be refused."""
        return self.provisioning in _PASSING

    @property
    def at_rest(self) -> bool:
        """Nothing of it runs, and it may be changed and started."""
        return not self.busy and self.power in ("", "deallocated")

    @property
    def failed(self) -> bool:
        return self.at_rest and self.provisioning == "failed"

    @property
    def lacks_room(self) -> bool:
        return self.failed and isinstance(refusal(0, self.code, self.message), NoRoom)

    @property
    def state(self) -> MachineState:
        power, stage, failure = self._meaning()
        return MachineState(power=power, generation=self.generation, stage=stage, failure=failure)

    @property
    def info(self) -> MachineInfo:
        started = self.tags.get(STARTED)
        return MachineInfo(
            name=self.name,
            session_id=self.session_id,
            power=self.state.power,
            generation=self.generation,
            started_at=datetime.fromisoformat(started) if started else None,
        )

    def _meaning(self) -> tuple[Power, str, Failure | None]:
        if self.provisioning == "deleting":
            return Power.STOPPING, "deleting machine", None
        if self.failed:
            error = refusal(0, self.code, self.message)
            return Power.FAILED, "", Failure(stage="allocating", reason=str(error), advice=getattr(error, "advice", ""))
        match self.power:
            case "running":
                return Power.RUNNING, "worker starting" if self.agent_ready else "booting", None
            case "stopping" | "deallocating":
                return Power.STOPPING, "deallocating", None
            case "stopped":  # from within; its host is still paid for
                reason = "The machine was shut down from within."
                return Power.FAILED, "", Failure(stage="machine", reason=reason)
            case "deallocated" if not self.busy:
                return Power.DEALLOCATED, "deallocated", self._eviction()
            case _:
                return Power.STARTING, "allocating", None

    def _eviction(self) -> Failure | None:
        """Read only where nobody had asked for it: then it was Azure that took a spot machine back."""
        if not self.spot:
            return None
        reason = "Azure took the spot machine back."
        advice = "It is started again where there is room; NIGHTSHIFT_VM_SPOT=0 gives new sessions machines that stay."
        return Failure(stage="machine", reason=reason, advice=advice)


def read(vm: Mapping[str, Any]) -> Machine:
    """From a GET with its instance view."""
    properties = vm["properties"]
    view: Mapping[str, Any] = properties.get("instanceView") or {}
    statuses = _by_kind(view)
    agent = _by_kind(view.get("vmAgent") or {})
    operation = statuses.get("ProvisioningState", {})
    return Machine(
        name=vm["name"],
        etag=vm.get("etag"),
        tags=dict(vm.get("tags") or {}),
        size=properties["hardwareProfile"]["vmSize"],
        spot=properties.get("priority") == "Spot",
        provisioning=str(properties["provisioningState"]).lower(),
        power=statuses.get("PowerState", {}).get("code", "").partition("/")[2].lower(),
        agent_ready=agent.get("ProvisioningState", {}).get("code") == "ProvisioningState/succeeded",
        code=operation.get("code", "").partition("/")[2].partition("/")[2],  # ProvisioningState/failed/<code>
        message=operation.get("message") or "",
    )


def _by_kind(view: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {status["code"].partition("/")[0]: status for status in view.get("statuses") or ()}


def session_of_part(name: str) -> str | None:
    """Whose disk or network interface this is, by its name: Azure gives the interface no tags."""
    match = _PART.fullmatch(name)
    return match["session"] if match else None
