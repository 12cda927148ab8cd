"""An Azure Resource Manager on this machine, for as much as the machines of Nightshift use of it.

    arm = Arm()
    await arm.start()
    async with arm.client() as client:
        machines = AzureMachines(arm.settings(), client)

Every request and every answer is checked against a contract (see contract.py); what does not fit it is in
`arm.problems`, which must stay empty. `arm.fail` lets requests go wrong, `arm.cloud` says what there is and can be
told to be short of cores, to lose machines, to be slow. With `hardware`, its machines really run.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

from azure.mgmt.compute.aio import ComputeManagementClient

from nightshift.machines.azure import connect
from nightshift.settings import VirtualMachines
from nightshift.testing.cloud import Cloud, Event, Operation, Refused, Vm
from nightshift.testing.contract import Contract, Exchange, operation_of
from nightshift.testing.sdk_models import SdkModels
from nightshift.testing.wire import Answer, Request, serve

SUBSCRIPTION = "/subscriptions/5b1f2c3d-0000-4000-8000-123456789abc"
GROUP = f"{SUBSCRIPTION}/resourceGroups/machines"
_SHARED = f"{SUBSCRIPTION}/resourceGroups/nightshift/providers"
_PAGE = 2
"""Entries of a page of a list: few, so that every caller has to turn pages."""


class Hardware(Protocol):
    """What machines do besides being described."""

    async def happen(self, event: Event) -> None: ...


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of, or in addition to, what should."""

    status: int = 0
    """Refused with it."""
    code: str = ""
    message: str = ""
    body: Any = None
    """Of the refusal, where code and message do not say it."""
    retry_after: int | None = None
    cut: Literal["", "before", "after", "during"] = ""
    """The connection breaks: before anything was done; after it, without an answer; in the middle of the answer."""
    late: bool = False
    """Accepted, and then it fails with the code."""
    slow: float = 0
    """The operation takes that many seconds more."""


QUOTA = Fault(409, "OperationNotAllowed", "It results in exceeding approved standardDASv5Family Cores quota.")
NO_CAPACITY = Fault(409, "SkuNotAvailable", "The requested VM size is currently not available in location.")
NO_CAPACITY_LATE = Fault(code="AllocationFailed", message="Allocation failed.", late=True)
CONFLICT = Fault(409, "Conflict", "The request failed due to conflict with a concurrent request.")
THROTTLED = Fault(429, "TooManyRequests", "The request is being throttled.", retry_after=17)
UNAVAILABLE = Fault(503, "ServiceUnavailable", "Try again later.")
INTERNAL = Fault(500, "InternalExecutionError", "An internal execution error occurred.")
INTERNAL_LATE = Fault(code="InternalExecutionError", message="An internal execution error occurred.", late=True)
FORBIDDEN = Fault(403, "AuthorizationFailed", "The client does not have authorization to perform action.")
LOST_REQUEST = Fault(cut="before")
LOST_ANSWER = Fault(cut="after")
HALF_AN_ANSWER = Fault(cut="during")
SLOW = Fault(slow=30)


class Arm:
    def __init__(
        self, cloud: Cloud | None = None, contract: Contract | None = None, hardware: Hardware | None = None
    ) -> None:
        self.cloud = cloud or Cloud(GROUP)
        self.problems: list[str] = []
        self.journal: list[Exchange] = []
        self.before: Callable[[Exchange], Awaitable[Fault | None]] | None = None
        """Called before each request is handled: may act, and say what goes wrong with it."""
        self.retry_after = 10
        """Seconds that a client is asked to wait between two looks at an operation."""
        self._contract = contract or SdkModels()
        self._hardware = hardware
        self._faults: deque[tuple[str, Fault]] = deque()
        self._happened = 0
        self._happening = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._pulse: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self, port: int = 0) -> None:
        self._server = await serve(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        if self._hardware is not None:
            self._pulse = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
            await asyncio.wait([self._pulse])
        if self._server is not None:
            self._server.close()
            self._server.close_clients()
            await self._server.wait_closed()

    def settings(self, **changes: Any) -> VirtualMachines:
        """Of a deployment whose machines are here."""
        settings = VirtualMachines(
            resource_group=self.cloud.group,
            location="japaneast",
            subnet=f"{_SHARED}/Microsoft.Network/virtualNetworks/nightshift/subnets/machines",
            image=f"{_SHARED}/Microsoft.Compute/galleries/nightshift/images/worker",
            identity=f"{_SHARED}/Microsoft.ManagedIdentity/userAssignedIdentities/machine",
            arm_url=self.url,
        )
        return replace(settings, **changes)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[ComputeManagementClient]:
        async with connect(self.settings(), None) as client:
            yield client

    def fail(self, operation: str, fault: Fault, times: int = 1) -> None:
        """The next requests of this operation, or of any with '*'."""
        self._faults.extend([(operation, fault)] * times)

    def clear_faults(self) -> None:
        self._faults.clear()

    # --- one request ------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> Answer | None:
        """A fault of this server must not pass for one that was asked for."""
        try:
            return await self._handle(request)
        except Exception:
            self.problems.append(traceback.format_exc())
            return self._answer(Refused(500, "ServerIsBroken", traceback.format_exc()))

    async def _handle(self, request: Request) -> Answer | None:
        url = urlsplit(request.target)
        operation = operation_of(request.method, url.path)
        if "authorization" not in request.headers:
            return self._answer(Refused(401, "AuthenticationFailed", "The 'Authorization' header is missing."))
        if operation is None and "/operations/" in url.path:
            return self._poll(url.path, dict(parse_qsl(url.query)))
        if operation is None:
            self.problems.append(f"{request.method} {url.path}: not served here")
            return self._answer(Refused(404, "NotFound", f"There is nothing at {url.path}."))
        body = json.loads(request.body) if request.body else None
        query = dict(parse_qsl(url.query))
        it = Exchange(operation.name, request.method, url.path, query, request.headers, body)
        wrong = list(self._contract.request(it))
        self.problems += [f"{it.operation}: request: {each}" for each in wrong]
        fault = await self.before(it) if self.before is not None else None
        fault = fault or self._next_fault(it)
        if fault.cut == "before":
            return None
        await self._settle()
        try:
            if wrong:
                raise Refused(400, "InvalidRequestContent", "; ".join(wrong))
            if fault.status:
                headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                raise Refused(fault.status, fault.code, fault.message, headers)
            answer = self._act(it, fault)
        except Refused as refused:
            answer = self._answer(refused)
            answer = answer if fault.body is None else replace(answer, body=fault.body)
        await self._settle()
        it = replace(it, status=answer.status, answer=answer.body, answer_headers=answer.headers)
        self.journal.append(it)
        if fault.body is None:
            self.problems += [f"{it.operation}: answer {it.status}: {each}" for each in self._contract.answer(it)]
        if fault.cut == "after":
            return None
        return replace(answer, cut=fault.cut == "during")

    def _next_fault(self, it: Exchange) -> Fault:
        for entry in self._faults:
            if entry[0] in ("*", it.operation):
                self._faults.remove(entry)
                return entry[1]
        return Fault()

    def _act(self, it: Exchange, fault: Fault) -> Answer:
        cloud, name = self.cloud, it.path.split("/")[8] if it.path.count("/") > 7 else ""
        late = (fault.slow, (fault.code, fault.message) if fault.late else None)
        vm = cloud.vms.get(name)
        match it.operation, vm:
            case "VirtualMachines_CreateOrUpdate", None:
                operation = cloud.create(name, it.body, *late)
                return Answer(201, cloud.show(cloud.vms[name]), self._polled_at(operation, location=False))
            case "VirtualMachines_CreateOrUpdate", Vm():
                self._demand_precondition(it, vm)
                operation = cloud.replace(vm, it.body, *late)
                return Answer(200, cloud.show(vm), self._polled_at(operation, location=False))
            case "VirtualMachines_Get", Vm():
                return Answer(200, cloud.show(vm, it.query.get("$expand")))
            case "VirtualMachines_Update", Vm():
                self._demand_precondition(it, vm)
                operation = cloud.update(vm, it.body, *late)
                return Answer(200, cloud.show(vm), self._polled_at(operation, location=False))
            case "VirtualMachines_Start", Vm():
                return Answer(202, headers=self._polled_at(cloud.start(vm, *late)))
            case "VirtualMachines_Deallocate", Vm():
                return Answer(202, headers=self._polled_at(cloud.deallocate(vm, *late)))
            case "VirtualMachines_Delete", Vm():
                return Answer(202, headers=self._polled_at(cloud.delete(vm, *late)))
            case "VirtualMachines_Delete", None:
                return Answer(204)
            case "VirtualMachines_List", _:
                return self._page(it, [cloud.show(vm) for vm in cloud.vms.values()])
            case "Disks_ListByResourceGroup", _:
                return self._page(it, [cloud.show_disk(disk) for disk in cloud.disks])
            case "NetworkInterfaces_List", _:
                return self._page(it, [cloud.show_nic(nic) for nic in cloud.nics])
            case "Disks_Delete" | "NetworkInterfaces_Delete", _:
                parts = cloud.disks if it.operation == "Disks_Delete" else cloud.nics
                operation = cloud.delete_part(parts, name)
                return Answer(204) if operation is None else Answer(202, headers=self._polled_at(operation))
            case _:
                message = f"The Resource 'Microsoft.Compute/virtualMachines/{name}' was not found."
                raise Refused(404, "ResourceNotFound", message)

    def _demand_precondition(self, it: Exchange, vm: Vm) -> None:
        match, none_match = it.headers.get("if-match"), it.headers.get("if-none-match")
        if (match is not None and match != vm.etag) or none_match == "*":
            raise Refused(412, "PreconditionFailed", "The precondition of the request was not met.")

    def _page(self, it: Exchange, entries: list[Any]) -> Answer:
        begin = int(it.query.get("$skiptoken", "0"))
        page: dict[str, Any] = {"value": entries[begin : begin + _PAGE]}
        if begin + _PAGE < len(entries):
            version = quote(it.query["api-version"])
            page["nextLink"] = f"{self.url}{it.path}?api-version={version}&$skiptoken={begin + _PAGE}"
        return Answer(200, page)

    def _answer(self, refused: Refused) -> Answer:
        return Answer(refused.status, refused.body, refused.headers)

    # --- operations that take their time ----------------------------------------------------------------

    def _polled_at(self, operation: Operation, *, location: bool = True) -> dict[str, str]:
        url = f"{self.url}{SUBSCRIPTION}/providers/Microsoft.Compute/locations/japaneast/operations/{operation.id}"
        headers = {"Azure-AsyncOperation": f"{url}?api-version=2024-07-01", "Retry-After": str(self.retry_after)}
        if location:
            headers["Location"] = f"{url}?monitor=true&api-version=2024-07-01"
        return headers

    def _poll(self, path: str, query: dict[str, str]) -> Answer:
        """What both headers lead to. Nightshift never goes there; other clients do."""
        operation = self.cloud.operations.get(path.rpartition("/")[2])
        if operation is None:
            return self._answer(Refused(404, "NotFound", f"There is nothing at {path}."))
        self.cloud.settle()
        if "monitor" in query:
            return Answer(200) if operation.over else Answer(202, headers=self._polled_at(operation))
        status: dict[str, Any] = {"name": operation.id, "startTime": operation.began.isoformat()}
        if not operation.over:
            return Answer(200, status | {"status": "InProgress"}, {"Retry-After": str(self.retry_after)})
        status["endTime"] = operation.due.isoformat()
        if operation.error is None:
            return Answer(200, status | {"status": "Succeeded"})
        code, message = operation.error
        return Answer(200, status | {"status": "Failed", "error": {"code": code, "message": message}})

    async def _settle(self) -> None:
        self.cloud.settle()
        if self._hardware is None:
            return
        async with self._happening:
            while self._happened < len(self.cloud.events):
                self._happened += 1
                await self._hardware.happen(self.cloud.events[self._happened - 1])

    async def _beat(self) -> None:
        """Machines that run must start also while nobody asks."""
        while True:
            await self._settle()
            await asyncio.sleep(0.1)
