"""The local resource manager itself: what it finds wrong, and that Microsoft's own client gets along with it."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.compute.aio import ComputeManagementClient

from nightshift.machines import vm
from nightshift.machines.azure import VERSION
from nightshift.testing.arm import GROUP, NO_CAPACITY_LATE, Arm
from nightshift.testing.cloud import Cloud
from nightshift.testing.contract import Contract, Exchange, operation_of
from nightshift.testing.openapi import OpenApi
from nightshift.testing.sdk_models import SdkModels
from tests.machines.caller import spec
from tests.machines.conftest import OPENAPI

NAME = "nightshift-s-1"
PATH = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/{NAME}"

needs_documents = pytest.mark.skipif(not OPENAPI, reason="NIGHTSHIFT_AZURE_OPENAPI does not name a checkout")


# --- Microsoft's client -----------------------------------------------------------------------------------


@pytest.fixture
async def quick(contract: Contract) -> AsyncIterator[Arm]:
    """Operations that take a moment of real time."""
    arm = Arm(Cloud(GROUP, latency=0.02), contract)
    arm.retry_after = 0
    await arm.start()
    yield arm
    await arm.stop()
    assert arm.problems == []


@pytest.fixture
async def client(quick: Arm) -> AsyncIterator[ComputeManagementClient]:
    async with quick.client() as client:
        impatient: Any = client
        impatient._config.polling_interval = 0.01  # seconds; it takes Retry-After: 0 for none
        yield client


def body(arm: Arm) -> Any:
    return vm.create(arm.settings(), spec(1), "ssh-rsa AAAA", "Standard_D4as_v5", None)


async def test_its_poller_follows_every_operation_to_its_end(quick: Arm, client: ComputeManagementClient) -> None:
    version: Any = {"api_version": VERSION}
    machines = client.virtual_machines
    made = await (await machines.begin_create_or_update("machines", NAME, body(quick), **version)).result()
    assert made["properties"]["provisioningState"] == "Succeeded"
    await (await machines.begin_deallocate("machines", NAME, **version)).result()
    assert quick.cloud.vms[NAME].power == "deallocated"
    change: Any = vm.resize("Standard_D4s_v5")
    changed = await (await machines.begin_update("machines", NAME, change, **version)).result()
    assert changed["properties"]["hardwareProfile"]["vmSize"] == "Standard_D4s_v5"
    await (await machines.begin_start("machines", NAME, **version)).result()
    assert quick.cloud.vms[NAME].power == "running"
    await (await machines.begin_delete("machines", NAME, **version)).result()
    with pytest.raises(ResourceNotFoundError):
        await machines.get("machines", NAME, **version)


async def test_its_poller_is_told_of_a_late_failure(quick: Arm, client: ComputeManagementClient) -> None:
    quick.fail("VirtualMachines_CreateOrUpdate", NO_CAPACITY_LATE)
    poller = await client.virtual_machines.begin_create_or_update("machines", NAME, body(quick), api_version=VERSION)
    with pytest.raises(HttpResponseError, match="AllocationFailed"):
        await poller.result()


# --- what it finds wrong ----------------------------------------------------------------------------------


CONTRACTS = [
    pytest.param(SdkModels(), id="models of the SDK"),
    pytest.param(OpenApi(Path(OPENAPI)), id="published documents", marks=needs_documents),
]


def exchange(method: str = "PUT", path: str = PATH, version: str = VERSION, **changes: Any) -> Exchange:
    operation = operation_of(method, path)
    assert operation is not None
    query = {"api-version": version} | changes.pop("query", {})
    return Exchange(operation.name, method, path, query, {}, changes.pop("body", None), **changes)


def mangled(path: str, value: Any) -> Any:
    """The request for a machine, with one property changed."""
    changed = copy.deepcopy(body(Arm()))
    target = changed
    *steps, last = path.split("/")
    for step in steps:
        target = target[int(step) if isinstance(target, list) else step]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return changed


MISTAKES: list[tuple[str, Any]] = [
    ("propertees", {}),
    ("location", None),
    ("location", 5),
    ("etag", '"1"'),
    ("tags/app", 1),
    ("zones", "1"),
    ("properties/provisioningState", "Succeeded"),
    ("properties/hardwareProfile/size", "Standard_D4as_v5"),
    ("properties/storageProfile/osDisk/createOption", None),
    ("properties/storageProfile/osDisk/deleteOption", "Destroy"),
    ("properties/storageProfile/osDisk/diskSizeGB", "64"),
    ("properties/networkProfile/networkInterfaceConfigurations/0/name", None),
    ("properties/networkProfile/networkInterfaceConfigurations/0/properties/deletionOption", "Delete"),
    ("properties/networkProfile/networkApiVersion", "2020-12-01"),
    ("properties/osProfile/linuxConfiguration/disablePasswordAuthentication", "true"),
    ("properties/securityProfile/uefiSettings/vTPMEnabled", True),
    ("identity/type", "userAssigned"),
]


@pytest.mark.parametrize("judge", CONTRACTS)
def test_what_we_send_is_right(judge: Contract) -> None:
    assert list(judge.request(exchange(body=body(Arm())))) == []


@pytest.mark.parametrize("judge", CONTRACTS)
@pytest.mark.parametrize(("path", "value"), MISTAKES)
def test_a_mistake_in_a_request_is_found(judge: Contract, path: str, value: Any) -> None:
    assert list(judge.request(exchange(body=mangled(path, value)))) != []


@needs_documents
@pytest.mark.parametrize(
    "wrong",
    [
        exchange("GET", query={"$expand": "everything"}),
        exchange("GET", query={"expand": "instanceView"}),
        exchange("GET", version="2024-07-02"),
        exchange("GET", body={}),
    ],
    ids=["value of a query", "name of a query", "version", "body"],
)
def test_mistakes_that_only_the_documents_tell(wrong: Exchange) -> None:
    assert list(OpenApi(Path(OPENAPI)).request(wrong)) != []


@pytest.mark.parametrize("judge", CONTRACTS)
@pytest.mark.parametrize(
    ("method", "status", "answer", "headers"),
    [
        ("GET", 200, {"name": NAME}, {}),
        ("GET", 200, {"location": "japaneast", "power": "on"}, {}),
        ("GET", 204, None, {}),
        ("GET", 404, {"error": "not found"}, {}),
        ("DELETE", 202, None, {}),
        ("DELETE", 202, None, {"Location": "/operations/1"}),
        ("DELETE", 202, None, {"Location": "https://arm.example/1", "Retry-After": "soon"}),
        ("PUT", 201, {"location": "japaneast"}, {}),
    ],
)
def test_a_mistake_in_an_answer_is_found(
    judge: Contract, method: str, status: int, answer: Any, headers: dict[str, str]
) -> None:
    it = exchange(method, status=status, answer=answer, answer_headers=headers)
    assert list(judge.answer(it)) != []


@needs_documents
def test_microsofts_own_examples_are_found_right() -> None:
    """Else a mistake that is found may be the judge's."""
    judge, seen = OpenApi(Path(OPENAPI)), 0
    for file in sorted(Path(OPENAPI).glob(f"**/ComputeRP/stable/{VERSION}/examples/virtualMachineExamples/*.json")):
        example = json.loads(file.read_text("utf-8"))
        method = next((word for prefix, word in METHODS.items() if file.name.startswith(prefix)), None)
        if method is None or "InstanceView" in file.name:  # that is another path
            continue
        seen += 1
        sent = example["parameters"].get("parameters")
        assert (file.name, list(judge.request(exchange(method, body=sent)))) == (file.name, [])
        for status, given in example["responses"].items():
            headers = {"Location": "https://arm.example/1", "Azure-AsyncOperation": "https://arm.example/1"}
            it = exchange(method, body=sent, status=int(status), answer=given.get("body"), answer_headers=headers)
            assert (file.name, status, list(judge.answer(it))) == (file.name, status, [])
    assert seen > 50


METHODS = {"VirtualMachine_Create": "PUT", "VirtualMachine_Update": "PATCH", "VirtualMachine_Get": "GET"}


# --- its doors --------------------------------------------------------------------------------------------


async def test_it_wants_to_know_who_asks(quick: Arm) -> None:
    async with httpx.AsyncClient(base_url=quick.url) as http:
        answer = await http.get(PATH, params={"api-version": VERSION})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "AuthenticationFailed"


async def test_what_it_does_not_serve_is_a_problem(quick: Arm) -> None:
    async with httpx.AsyncClient(base_url=quick.url, headers={"Authorization": "Bearer local"}) as http:
        answer = await http.post(f"{PATH}/reimage", params={"api-version": VERSION})
    assert answer.status_code == 404
    assert quick.problems.pop().endswith("not served here")


async def test_user_data_is_shown_only_to_who_asks_for_it(quick: Arm, client: ComputeManagementClient) -> None:
    await client.virtual_machines.begin_create_or_update(
        "machines", NAME, body(quick), polling=False, api_version=VERSION
    )
    for expand in (None, "instanceView"):
        seen = await client.virtual_machines.get("machines", NAME, expand=expand, api_version=VERSION)
        assert "userData" not in seen["properties"]
