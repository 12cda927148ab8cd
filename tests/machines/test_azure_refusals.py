"""Azure's errors: which may pass, which another size helps against, and what a person is told about the others."""

from __future__ import annotations

import pytest

from nightshift.errors import Permanent, Retryable
from nightshift.machines.azure import AzureMachines
from nightshift.machines.refusals import NoRoom
from nightshift.models import Power
from nightshift.testing.arm import (
    CONFLICT,
    FORBIDDEN,
    HALF_AN_ANSWER,
    INTERNAL,
    LOST_ANSWER,
    LOST_REQUEST,
    UNAVAILABLE,
    Arm,
    Fault,
)
from tests.machines.caller import spec

IMAGE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/x/images/y"
SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n"
IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"

TWICE = 2
"""The HTTP client by itself sends a GET, PUT or DELETE once more when a connection that it had kept breaks."""

PASSING = [
    CONFLICT,
    UNAVAILABLE,
    INTERNAL,
    LOST_REQUEST,
    LOST_ANSWER,
    HALF_AN_ANSWER,
    Fault(409, "AnotherOperationInProgress", "Another operation on this or dependent resource is in progress."),
    Fault(409, "OperationNotAllowed", "The VM is being updated."),
    Fault(400, "NicReservedForAnotherVm", "Nic(s) in request is reserved for another Virtual Machine for 180 seconds."),
    Fault(412, "PreconditionFailed", "The precondition of the request was not met."),
    Fault(429, "OperationNotAllowed", "Too many requests against the quota of requests."),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda it: f"{it.status or it.cut}-{it.code}")
async def test_what_may_pass_is_tried_again(arm: Arm, machines: AzureMachines, fault: Fault) -> None:
    arm.fail("VirtualMachines_CreateOrUpdate", fault, times=TWICE)
    with pytest.raises(Retryable):
        await machines.begin_start(spec(1))


NO_ROOM = [
    ("AllocationFailed", "Allocation failed."),
    ("ZonalAllocationFailed", "Allocation failed in zone 1."),
    ("OverconstrainedAllocationRequest", "Allocation failed with too many constraints."),
    ("SkuNotAvailable", "The requested size is currently not available."),
    ("OperationNotAllowed", "It results in exceeding approved Total Regional Cores quota."),
    ("QuotaExceeded", "Spot quota of LowPriorityCores exceeded."),
]


@pytest.mark.parametrize(("code", "message"), NO_ROOM)
async def test_no_room_is_told_when_no_size_has_any(arm: Arm, machines: AzureMachines, code: str, message: str) -> None:
    arm.fail("VirtualMachines_CreateOrUpdate", Fault(409, code, message), times=3)
    with pytest.raises(NoRoom) as caught:
        await machines.begin_start(spec(1))
    assert code in str(caught.value)
    assert "NIGHTSHIFT_VM_SIZES" in caught.value.advice


LASTING = [
    (404, "GalleryImageNotFound", f"The gallery image {IMAGE} is not available in japaneast.", "image", "VM_IMAGE"),
    (404, "ResourceNotFound", f"The Resource '{IMAGE}' was not found.", "image", "VM_IMAGE"),
    (400, "InvalidResourceReference", f"Resource {SUBNET} was not found.", "subnet", "VM_SUBNET"),
    (400, "SubnetIsFull", "Subnet n does not have enough capacity for 1 IP addresses.", "no free address", "larger"),
    (400, "FailedIdentityOperation", f"The identity {IDENTITY} was not found.", "identity", "VM_IDENTITY"),
    (404, "ResourceGroupNotFound", "Resource group 'machines' could not be found.", "group", "VM_RESOURCE_GROUP"),
    (403, "AuthorizationFailed", "The client does not have authorization.", "may not", "role"),
    (403, "LinkedAuthorizationFailed", f"No permission to join {SUBNET}/join/action.", "may not", "role"),
    (403, "RequestDisallowedByPolicy", "Resource was disallowed by policy.", "policy", "exemption"),
    (409, "ScopeLocked", "The scope cannot perform write operation because it is locked.", "lock", "lock"),
    (409, "ReadOnlyDisabledSubscription", "The subscription is disabled.", "switched off", "owner"),
    (401, "InvalidAuthenticationToken", "The access token is invalid.", "does not let", "identity"),
    (409, "OperationNotAllowed", "Unable to resize the VM: resource disk.", "another size", "local disk"),
    (400, "InvalidParameter", "The value of parameter dataDisk is invalid.", "refuses", "code"),
]


@pytest.mark.parametrize(("status", "code", "message", "reason", "advice"), LASTING, ids=lambda it: str(it)[:20])
async def test_what_lasts_is_told_with_advice(
    arm: Arm, machines: AzureMachines, status: int, code: str, message: str, reason: str, advice: str
) -> None:
    arm.fail("VirtualMachines_CreateOrUpdate", Fault(status, code, message))
    with pytest.raises(Permanent) as caught:
        await machines.begin_start(spec(1))
    assert not isinstance(caught.value, NoRoom)
    assert reason in str(caught.value)
    assert code in str(caught.value)
    assert advice in caught.value.advice


@pytest.mark.parametrize("missing", ["image", "subnet", "identity"])
async def test_what_a_deployment_lacks_is_named(arm: Arm, machines: AzureMachines, missing: str) -> None:
    settings = arm.settings()
    there = {"image": settings.image, "subnet": settings.subnet, "identity": settings.identity}
    del there[missing]
    arm.cloud.known = {id.lower() for id in there.values()}
    with pytest.raises(Permanent, match=missing) as caught:
        await machines.begin_start(spec(1))
    assert f"NIGHTSHIFT_VM_{missing.upper()}" in caught.value.advice


async def test_a_missing_group_is_not_taken_for_a_missing_machine(arm: Arm, machines: AzureMachines) -> None:
    """Else every session would be told that its machine went away."""
    arm.fail("VirtualMachines_Get", Fault(404, "ResourceGroupNotFound", "Resource group could not be found."))
    with pytest.raises(Permanent):
        await machines.state("s-1")


@pytest.mark.parametrize("call", ["state", "begin_deallocate", "begin_delete", "list_all"])
async def test_every_call_tells_a_missing_right(arm: Arm, machines: AzureMachines, call: str) -> None:
    arm.fail("*", FORBIDDEN)
    with pytest.raises(Permanent, match="may not"):
        await getattr(machines, call)(*(() if call == "list_all" else ("s-1",)))


@pytest.mark.parametrize("fault", [LOST_REQUEST, LOST_ANSWER, HALF_AN_ANSWER, UNAVAILABLE])
@pytest.mark.parametrize("call", ["state", "begin_deallocate", "begin_delete", "list_all"])
async def test_every_call_may_be_cut_and_repeated(arm: Arm, machines: AzureMachines, call: str, fault: Fault) -> None:
    await machines.begin_start(spec(1))
    arm.cloud.latency = 0
    arguments = () if call == "list_all" else ("s-1",)
    arm.fail("*", fault, times=TWICE)
    with pytest.raises(Retryable):
        await getattr(machines, call)(*arguments)
    arm.clear_faults()
    assert (await machines.state("s-1")).power in (Power.STARTING, Power.DEALLOCATED, Power.ABSENT)


async def test_the_outermost_known_code_counts(arm: Arm, machines: AzureMachines) -> None:
    """Some errors only wrap another one."""
    wrapped = {"error": {"code": "BadRequest", "message": "See details.", "details": [{"code": "SubnetIsFull"}]}}
    arm.fail("VirtualMachines_CreateOrUpdate", Fault(400, body=wrapped))
    with pytest.raises(Permanent, match="no free address"):
        await machines.begin_start(spec(1))


async def test_a_proxy_that_answers_in_between_is_no_word_of_azure(arm: Arm, machines: AzureMachines) -> None:
    arm.fail("VirtualMachines_Get", Fault(502, body="<html>Bad gateway</html>"))
    with pytest.raises(Retryable):
        await machines.state("s-1")
