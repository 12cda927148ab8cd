"""What the resource manager keeps, and how it changes with time. No HTTP: `arm.py` serves it.

It behaves as Azure is documented to, and at its most awkward where that leaves room: an operation on a machine that
has one under way is refused, tags of a PATCH replace all others, a disk's name is taken until the disk is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast
from uuid import uuid4

type Body = dict[str, Any]


class Refused(Exception):
    """An error answer."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    @property
    def body(self) -> Body:
        return {"error": {"code": self.code, "message": str(self)}}


@dataclass
class Operation:
    """A long-running one. Once it is over, `error` says whether it failed."""

    kind: Literal["create", "update", "start", "deallocate", "delete"]
    began: datetime
    due: datetime
    error: tuple[str, str] | None = None
    over: bool = False
    id: str = field(default_factory=lambda: str(uuid4()))


@dataclass
class Vm:
    name: str
    body: Body
    operation: Operation
    created: datetime
    nic: str
    disk: str
    power: str = ""
    version: int = 1
    booted: datetime | None = None

    @property
    def etag(self) -> str:
        return f'"{self.version}"'

    @property
    def busy(self) -> bool:
        return not self.operation.over

    @property
    def size(self) -> str:
        return str(self.body["properties"]["hardwareProfile"]["vmSize"])

    @property
    def spot(self) -> bool:
        return self.body["properties"].get("priority") == "Spot"


@dataclass(frozen=True)
class Event:
    """What happens to the hardware: a machine boots, is switched off, or its disk is wiped."""

    kind: Literal["boot", "halt", "wipe"]
    name: str
    user_data: str = ""


_UNDER_WAY = {"create": "Creating", "delete": "Deleting"}


@dataclass
class Cloud:
    """One resource group. `latency`: seconds that each operation takes."""

    group: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    latency: float = 0
    quota: int | None = None
    """Cores; None: no limit."""
    not_sold: set[str] = field(default_factory=set[str])
    """Sizes that are refused at once."""
    full: set[str] = field(default_factory=set[str])
    """Sizes whose allocation fails late."""
    revives: bool = True
    """Whether a change of a machine whose creation failed allocates it. Azure's pages do not say."""
    sticky: set[Literal["disk", "nic"]] = field(default_factory=set[Literal["disk", "nic"]])
    """Parts that deletion of a machine leaves behind."""
    known: set[str] = field(default_factory=set[str])
    """Ids of image, subnet and identity that exist, in lower case; empty: all do."""
    vms: dict[str, Vm] = field(default_factory=dict[str, Vm])
    disks: dict[str, Vm | None] = field(default_factory=dict[str, "Vm | None"])
    nics: dict[str, Vm | None] = field(default_factory=dict[str, "Vm | None"])
    operations: dict[str, Operation] = field(default_factory=dict[str, Operation])
    events: list[Event] = field(default_factory=list[Event])
    """All that ever happened to the hardware."""

    # --- operations -------------------------------------------------------------------------------------

    def create(self, name: str, body: Body, slow: float, error: tuple[str, str] | None) -> Operation:
        self._demand_references(body)
        self._demand_room(body["properties"]["hardwareProfile"]["vmSize"])
        properties = body["properties"]
        disk = properties["storageProfile"]["osDisk"]["name"]
        if disk in self.disks:
            message = f"Disk '{disk}' already exists in resource group. Only CreateOption.Attach is supported."
            raise Refused(409, "ConflictingUserInput", message)
        operation = self._begin("create", slow, error)
        nic = f"{properties['networkProfile']['networkInterfaceConfigurations'][0]['name']}-{uuid4().hex[:8]}"
        vm = self.vms[name] = Vm(name, body, operation, self.now(), nic, disk)
        self.disks[disk] = self.nics[nic] = vm
        self._fill(vm)
        return operation

    def replace(self, vm: Vm, body: Body, slow: float, error: tuple[str, str] | None) -> Operation:
        """A PUT on a machine that is there: it becomes what the body says, as far as that can be changed."""
        if body["properties"]["osProfile"] != vm.body["properties"]["osProfile"]:
            raise Refused(409, "PropertyChangeNotAllowed", "Changing property 'osProfile' is not allowed.")
        return self.update(vm, body, slow, error)

    def update(self, vm: Vm, change: Body, slow: float, error: tuple[str, str] | None) -> Operation:
        self._demand_idle(vm)
        size = change.get("properties", {}).get("hardwareProfile", {}).get("vmSize", vm.size)
        if size != vm.size and vm.power not in ("", "deallocated"):
            raise Refused(409, "OperationNotAllowed", f"Unable to resize the VM '{vm.name}' to size {size}.")
        never_ran = vm.power == "" and vm.operation.error is not None
        vm.body = {**vm.body, **change, "properties": vm.body["properties"] | change.get("properties", {})}
        vm.version += 1
        vm.operation = self._begin("update", slow, error)
        if never_ran and self.revives:
            vm.operation.kind = "create"
            self._fill(vm)
        return vm.operation

    def start(self, vm: Vm, slow: float, error: tuple[str, str] | None) -> Operation:
        self._demand_idle(vm)
        if vm.power not in ("running", "stopped"):
            self._demand_room(vm.size)
        vm.operation = self._begin("start", slow, error)
        if vm.power != "running":
            vm.power = "starting"
            self._fill(vm)
        return vm.operation

    def deallocate(self, vm: Vm, slow: float, error: tuple[str, str] | None) -> Operation:
        self._demand_idle(vm)
        vm.operation = self._begin("deallocate", slow, error)
        self._halt(vm)
        vm.power = "deallocating"
        return vm.operation

    def delete(self, vm: Vm, slow: float, error: tuple[str, str] | None) -> Operation:
        """Of all operations only this one may come while another is under way."""
        vm.operation = self._begin("delete", slow, error)
        self._halt(vm)
        return vm.operation

    def delete_part(self, parts: dict[str, Vm | None], name: str) -> Operation | None:
        if name not in parts:
            return None
        if parts[name] is not None:
            raise Refused(409, "OperationNotAllowed", f"{name} is attached to a virtual machine.")
        del parts[name]
        operation = self._begin("delete", 0, None)
        operation.over = True
        return operation

    # --- what nobody asked for --------------------------------------------------------------------------

    def evict(self, name: str) -> None:
        assert self.vms[name].spot, "only spot machines are taken back"
        self._halt(self.vms[name])
        self.vms[name].power = "deallocated"

    def shut_down_from_within(self, name: str) -> None:
        self._halt(self.vms[name])
        self.vms[name].power = "stopped"

    def lose(self, name: str) -> None:
        """Somebody deletes the machine by hand and leaves its parts."""
        vm = self.vms.pop(name)
        self._halt(vm)
        self.disks[vm.disk] = self.nics[vm.nic] = None

    # --- time -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everything that is due by now."""
        for vm in list(self.vms.values()):
            if vm.busy and vm.operation.due <= self.now():
                vm.operation.over = True
                self._finish(vm, vm.operation)

    def _finish(self, vm: Vm, operation: Operation) -> None:
        failed = operation.error is not None
        match operation.kind:
            case "create" | "start" if failed:
                vm.power = "" if operation.kind == "create" else "deallocated"
            case "create" | "start":
                if vm.power != "running":
                    vm.power, vm.booted = "running", self.now()
                    self.events.append(Event("boot", vm.name, vm.body["properties"].get("userData", "")))
            case "deallocate" | "delete" if failed:
                vm.power = "stopped"
            case "deallocate":
                vm.power = "deallocated"
            case "delete":
                del self.vms[vm.name]
                self._part_goes(self.disks, vm.disk, "disk" in self.sticky)
                self._part_goes(self.nics, vm.nic, "nic" in self.sticky)
                self.events.append(Event("wipe", vm.name))
            case _:
                pass

    def _part_goes(self, parts: dict[str, Vm | None], name: str, stays: bool) -> None:
        if stays:
            parts[name] = None
        else:
            del parts[name]

    def _halt(self, vm: Vm) -> None:
        if vm.power == "running":
            self.events.append(Event("halt", vm.name))
        vm.booted = None

    def _begin(self, kind: Any, slow: float, error: tuple[str, str] | None) -> Operation:
        now = self.now()
        due = datetime.fromtimestamp(now.timestamp() + self.latency + slow, UTC)
        operation = Operation(kind, now, due, error)
        self.operations[operation.id] = operation
        return operation

    # --- refusals ---------------------------------------------------------------------------------------

    def _demand_idle(self, vm: Vm) -> None:
        if vm.busy:
            message = "The request failed due to conflict with a concurrent request."
            raise Refused(409, "Conflict", message)

    def _demand_references(self, body: Body) -> None:
        properties = body["properties"]
        image = properties["storageProfile"]["imageReference"]["id"]
        interface = properties["networkProfile"]["networkInterfaceConfigurations"][0]
        subnet = interface["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"]
        (identity,) = body["identity"]["userAssignedIdentities"]
        if self._missing(image):
            message = f"The gallery image {image} is not available in {body['location']} region."
            raise Refused(404, "GalleryImageNotFound", message)
        if self._missing(subnet):
            message = f"Resource {subnet} referenced by resource {interface['name']} was not found."
            raise Refused(400, "InvalidResourceReference", message)
        if self._missing(identity):
            message = f"Identity operation failed: the identity {identity} was not found."
            raise Refused(400, "FailedIdentityOperation", message)

    def _missing(self, id: str) -> bool:
        return bool(self.known) and id.lower() not in self.known

    def _demand_room(self, size: str) -> None:
        if size in self.not_sold:
            message = f"The requested size for resource is currently not available in location: {size}."
            raise Refused(409, "SkuNotAvailable", message)
        used = sum(_cores(vm.size) for vm in self.vms.values() if vm.power != "deallocated")
        if self.quota is not None and used + _cores(size) > self.quota:
            message = (
                "Operation could not be completed as it results in exceeding approved Total Regional Cores quota. "
                f"Current Limit: {self.quota}, Current Usage: {used}, Additional Required: {_cores(size)}."
            )
            raise Refused(409, "OperationNotAllowed", message)

    def _fill(self, vm: Vm) -> None:
        if vm.size in self.full and vm.operation.error is None:
            message = "Allocation failed. We do not have sufficient capacity for the requested VM size in this region."
            vm.operation.error = ("AllocationFailed", message)

    # --- what a GET shows -------------------------------------------------------------------------------

    def show(self, vm: Vm, expand: str | None = None) -> Body:
        given = cast(Body, vm.body["properties"])
        hidden = ("userData", "networkProfile")
        properties = {key: value for key, value in given.items() if key not in hidden} | {
            "vmId": str(uuid4()),
            "provisioningState": _provisioning(vm),
            "timeCreated": vm.created.isoformat(),
            "networkProfile": {
                "networkInterfaces": [
                    {
                        "id": self.id("Microsoft.Network/networkInterfaces", vm.nic),
                        "properties": {"primary": True, "deleteOption": "Delete"},
                    }
                ]
            },
        }
        if expand == "instanceView":
            properties["instanceView"] = self._view(vm)
        if expand == "userData":
            properties["userData"] = given.get("userData", "")
        return {key: value for key, value in vm.body.items() if key != "properties"} | {
            "id": self.id("Microsoft.Compute/virtualMachines", vm.name),
            "name": vm.name,
            "type": "Microsoft.Compute/virtualMachines",
            "etag": vm.etag,
            "properties": properties,
        }

    def show_disk(self, name: str) -> Body:
        vm = self.disks[name]
        attached = {"managedBy": self.id("Microsoft.Compute/virtualMachines", vm.name)} if vm else {}
        return attached | {
            "id": self.id("Microsoft.Compute/disks", name),
            "name": name,
            "type": "Microsoft.Compute/disks",
            "location": vm.body["location"] if vm else "nowhere",
            "properties": {
                "creationData": {"createOption": "FromImage"},
                "diskState": "Attached" if vm else "Unattached",
                "provisioningState": "Succeeded",
            },
        }

    def show_nic(self, name: str) -> Body:
        vm = self.nics[name]
        attached = {"virtualMachine": {"id": self.id("Microsoft.Compute/virtualMachines", vm.name)}} if vm else {}
        return {
            "id": self.id("Microsoft.Network/networkInterfaces", name),
            "name": name,
            "type": "Microsoft.Network/networkInterfaces",
            "location": vm.body["location"] if vm else "nowhere",
            "properties": attached | {"provisioningState": "Succeeded"},
        }

    def id(self, kind: str, name: str) -> str:
        return f"{self.group}/providers/{kind}/{name}"

    def _view(self, vm: Vm) -> Body:
        state = _provisioning(vm).lower()
        operation: Body = {
            "code": f"ProvisioningState/{state}",
            "level": "Info",
            "displayStatus": _provisioning(vm),
            "time": self.now().isoformat(),
        }
        if state == "failed" and vm.operation.error is not None:
            code, message = vm.operation.error
            operation |= {"code": f"ProvisioningState/failed/{code}", "level": "Error", "message": message}
        view: Body = {"statuses": [operation]}
        if vm.power:
            view["statuses"].append(
                {"code": f"PowerState/{vm.power}", "level": "Info", "displayStatus": f"VM {vm.power}"}
            )
        if vm.booted is not None:
            ready = {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Ready"}
            view["vmAgent"] = {"vmAgentVersion": "2.11.1", "statuses": [ready]}
        return view


def _provisioning(vm: Vm) -> str:
    if vm.busy:
        return _UNDER_WAY.get(vm.operation.kind, "Updating")
    return "Succeeded" if vm.operation.error is None else "Failed"


def _cores(size: str) -> int:
    match = re.search(r"_[A-Z]+(\d+)", size)
    assert match, f"{size} does not say how many cores it has"
    return int(match[1])
