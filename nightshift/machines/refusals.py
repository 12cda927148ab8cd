"""What Azure says no with, put into words for people and told apart by what helps.

The same codes come at once, as an HTTP answer, and late, in the instance view of a machine whose operation failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from nightshift.azure import retry_after
from nightshift.errors import Permanent, Retryable


class NoRoom(Permanent):
    """No capacity or no quota for this size: another one may do."""


class Changed(Retryable):
    """The machine is there although it should not be, or is not as it was when it was looked at."""


class InTheWay(Retryable):
    """A disk of the machine's name is there without it."""


class Gone(Retryable):
    """The machine that the call was about is not there."""


type Refusal = Retryable | Permanent


@dataclass(frozen=True)
class _Rule:
    """Fits if the code is one of `codes` (none: any) and the message has one of `words` (none: any)."""

    error: Callable[[str, str], Refusal]
    reason: str
    advice: str
    codes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def fits(self, code: str, message: str) -> bool:
        return (not self.codes or code in self.codes) and (
            not self.words or any(word in message for word in self.words)
        )


def _busy(reason: str, advice: str) -> Retryable:
    return Retryable(reason)


def _in_the_way(reason: str, advice: str) -> Retryable:
    return InTheWay(reason)


_RULES = (
    _Rule(
        NoRoom,
        "The subscription's quota of cores for this machine is used up.",
        "Ask for more (Portal: Quotas), stop other machines, or name sizes of other families in NIGHTSHIFT_VM_SIZES.",
        codes=("OperationNotAllowed", "QuotaExceeded", "Conflict"),
        words=("quota",),
    ),
    _Rule(
        NoRoom,
        "Azure has no capacity for this machine now.",
        "Try again later, or name other sizes or zones in NIGHTSHIFT_VM_SIZES and NIGHTSHIFT_VM_ZONES.",
        codes=(
            "AllocationFailed",
            "ZonalAllocationFailed",
            "OverconstrainedAllocationRequest",
            "OverconstrainedZonalAllocationRequest",
            "SkuNotAvailable",
            "NotAvailableForSubscription",
        ),
    ),
    _Rule(
        Permanent,
        "The machine cannot be moved to another size.",
        "Let all NIGHTSHIFT_VM_SIZES have a local disk, or none of them; then delete this session's machine.",
        codes=("OperationNotAllowed", "PropertyChangeNotAllowed"),
        words=("resize", "resource disk"),
    ),
    _Rule(
        Permanent,
        "The image of the machines is missing or not in this region.",
        "Build it and replicate it to NIGHTSHIFT_VM_LOCATION, or correct NIGHTSHIFT_VM_IMAGE.",
        codes=("GalleryImageNotFound", "ImageNotFound", "PlatformImageNotFound", "VMImageNotFound"),
    ),
    _Rule(
        Permanent,
        "The image of the machines is missing or not in this region.",
        "Build it and replicate it to NIGHTSHIFT_VM_LOCATION, or correct NIGHTSHIFT_VM_IMAGE.",
        codes=("ResourceNotFound", "NotFound", "InvalidParameter", "InvalidResourceReference"),
        words=("/galleries/", "imagereference"),
    ),
    _Rule(
        Permanent,
        "The subnet of the machines has no free address.",
        "Use a larger subnet, or stop other machines.",
        codes=("SubnetIsFull",),
    ),
    _Rule(
        Permanent,
        "The subnet of the machines is missing or in another region.",
        "Correct NIGHTSHIFT_VM_SUBNET, or deploy the infrastructure again.",
        codes=("InvalidResourceReference", "ResourceNotFound", "NotFound", "SubnetNotFound"),
        words=("/subnets/", "/virtualnetworks/"),
    ),
    _Rule(
        Permanent,
        "The identity of the machines is missing.",
        "Correct NIGHTSHIFT_VM_IDENTITY, or deploy the infrastructure again.",
        codes=("FailedIdentityOperation", "ResourceNotFound", "NotFound", "InvalidResourceReference"),
        words=("/userassignedidentities/",),
    ),
    _Rule(
        Permanent,
        "The resource group or subscription of the machines is missing or switched off.",
        "Correct NIGHTSHIFT_VM_RESOURCE_GROUP, or ask the subscription's owner.",
        codes=("ResourceGroupNotFound", "SubscriptionNotFound", "DisabledSubscription", "ReadOnlyDisabledSubscription"),
    ),
    _Rule(
        Permanent,
        "A policy of the organisation forbids this machine.",
        "Ask for an exemption, or change the setting that the policy names.",
        codes=("RequestDisallowedByPolicy",),
    ),
    _Rule(
        Permanent,
        "A lock on the resource group forbids it.",
        "Take the lock away from the group of the machines.",
        codes=("ScopeLocked",),
    ),
    _Rule(
        Permanent,
        "Nightshift may not do this in Azure.",
        "Give the function app's identity the roles that infra/ assigns: over the machines' group, and to use their "
        "subnet, image and identity.",
        codes=("AuthorizationFailed", "LinkedAuthorizationFailed", "LinkedAccessCheckFailed"),
    ),
    # A network interface of a failed start is kept for its machine for 180 seconds.
    _Rule(_busy, "Azure still holds a part of the machine.", "", codes=("NicReservedForAnotherVm",)),
    _Rule(_in_the_way, "A disk of the machine's last life is still there.", "", codes=("ConflictingUserInput",)),
)


def refusal(status: int, code: str, message: str, retry_after: float | None = None) -> Refusal:
    """`status` is 0 where the refusal came late. Azure's own first words are part of the reason."""
    words = message.strip().partition("\n")[0][:300]
    said = f"{code or status}: {words}" if words else f"{code or status}"
    if status == 429 or code in ("TooManyRequests", "SubscriptionRequestsThrottled"):
        return Retryable(f"Azure asks for fewer requests ({said})", retry_after)
    for rule in _RULES:
        if rule.fits(code, message.casefold()):
            return rule.error(f"{rule.reason} ({said})", rule.advice)
    match status:
        case 401 | 403:
            return Permanent(f"Azure does not let Nightshift in ({said})", "Check the function app's identity.")
        case 404:
            return Gone(f"It is not there ({said})")
        case 412:
            return Changed(f"It changed meanwhile ({said})")
        case 408 | 409:
            return Retryable(f"Azure is busy with the machine ({said})", retry_after)
        case _ if status >= 500:
            return Retryable(f"Azure failed ({said})", retry_after)
        case _:
            return Permanent(f"Azure refuses the machine ({said})", "Look the code up in Azure's list of errors.")


def translate(error: AzureError) -> Refusal:
    """Whatever the SDK raises. A cut connection or an answer that was lost says nothing about what was done."""
    if isinstance(error, HttpResponseError) and (error.status_code or 0) >= 400:
        code, message = _said(error)
        return refusal(error.status_code or 0, code, message, retry_after(getattr(error.response, "headers", {})))
    if isinstance(error, ClientAuthenticationError):
        advice = "Check the function app's managed identity."
        return Permanent(f"Nightshift cannot sign in to Azure ({str(error)[:300]})", advice)
    return Retryable(f"No answer from Azure ({type(error).__name__}: {str(error)[:200]})")


def _said(error: HttpResponseError) -> tuple[str, str]:
    """The outermost code that a rule knows: some only wrap another, such as DeploymentFailed."""
    said: list[tuple[str, str]] = []
    told: Any = error.error
    while told is not None:
        said.append((str(told.code or ""), str(told.message or "")))
        told = next(iter(getattr(told, "details", None) or ()), None)
    known = (each for each in said if any(rule.fits(each[0], each[1].casefold()) for rule in _RULES))
    return next(known, said[0] if said else ("", error.message or ""))
