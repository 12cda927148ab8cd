"""What requests and answers of the resource manager must look like. By Microsoft's word: sdk_models.py, openapi.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

GROUP = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers"
_VM = f"{GROUP}/Microsoft.Compute/virtualMachines"
_NICS = f"{GROUP}/Microsoft.Network/networkInterfaces"
_DISKS = f"{GROUP}/Microsoft.Compute/disks"


@dataclass(frozen=True)
class Operation:
    """One operation, as far as the SDK's models do not tell it. `answers`: the model of each status, in brackets for
    a page of them, None for no body."""

    name: str
    method: str
    path: str
    answers: Mapping[int, str | None]
    body: str | None = None


OPERATIONS = (
    Operation("VirtualMachines_Get", "GET", _VM + "/{vmName}", {200: "VirtualMachine"}),
    Operation(
        "VirtualMachines_CreateOrUpdate",
        "PUT",
        _VM + "/{vmName}",
        {200: "VirtualMachine", 201: "VirtualMachine"},
        "VirtualMachine",
    ),
    Operation("VirtualMachines_Update", "PATCH", _VM + "/{vmName}", {200: "VirtualMachine"}, "VirtualMachineUpdate"),
    Operation("VirtualMachines_Delete", "DELETE", _VM + "/{vmName}", {200: None, 202: None, 204: None}),
    Operation("VirtualMachines_List", "GET", _VM, {200: "[VirtualMachine]"}),
    Operation("VirtualMachines_Start", "POST", _VM + "/{vmName}/start", {200: None, 202: None}),
    Operation("VirtualMachines_Deallocate", "POST", _VM + "/{vmName}/deallocate", {200: None, 202: None}),
    Operation("Disks_ListByResourceGroup", "GET", _DISKS, {200: "[Disk]"}),
    Operation("Disks_Delete", "DELETE", _DISKS + "/{diskName}", {200: None, 202: None, 204: None}),
    Operation("NetworkInterfaces_List", "GET", _NICS, {200: None}),
    Operation(
        "NetworkInterfaces_Delete", "DELETE", _NICS + "/{networkInterfaceName}", {200: None, 202: None, 204: None}
    ),
)


@dataclass(frozen=True)
class Exchange:
    """One request with its answer."""

    operation: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    status: int = 0
    answer_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    answer: Any = None


class Contract(Protocol):
    def request(self, it: Exchange) -> Iterator[str]:
        """What is wrong with the request."""
        ...

    def answer(self, it: Exchange) -> Iterator[str]:
        """What is wrong with the answer."""
        ...


def operation_of(method: str, path: str) -> Operation | None:
    return next((each for each in OPERATIONS if each.method == method and fits(each.path, path)), None)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), re.IGNORECASE)


def fits(template: str, path: str) -> bool:
    return _pattern(template).fullmatch(path) is not None


def polling(it: Exchange) -> Iterator[str]:
    """The resource manager's rules for operations that go on after their answer."""
    headers = {name.casefold(): value for name, value in it.answer_headers.items()}
    if it.status == 202 and "location" not in headers:
        yield "headers: 202 without Location"
    if it.status == 201 and it.method == "PUT" and "azure-asyncoperation" not in headers:
        yield "headers: 201 without Azure-AsyncOperation"
    for name in ("location", "azure-asyncoperation"):
        if not headers.get(name, "http://").startswith(("http://", "https://")):
            yield f"headers: {name} is no absolute URL"
    if not headers.get("retry-after", "0").isdigit():
        yield "headers: Retry-After is no number of seconds"
