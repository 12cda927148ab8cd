"""What Azure's services have in common for the adapters: their errors as ours."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError

from nightshift.errors import Permanent, Retryable, TooLarge

_PASSING = {408, 410, 429, 449}


@contextmanager
def azure_faults(service: str) -> Generator[None]:
    """What may pass becomes Retryable, with the pause that was asked for; what a person must mend, Permanent.

    A Retryable write may have been done all the same: its answer was lost, or never came.
    """
    try:
        yield
    except HttpResponseError as error:
        status, reason = error.status_code, _reason(error)
        if status == 413:
            raise TooLarge(f"{service} does not take a payload that large: {reason}") from error
        if status is None or status < 400 or status >= 500 or status in _PASSING:
            answer: Any = error.response
            after = None if answer is None else retry_after(answer.headers)
            raise Retryable(f"{service}: {status or type(error).__name__}: {reason}", after) from error
        raise Permanent(
            f"{service} refused the request: {status}: {reason}",
            f"Look at the app's settings and its identity's role assignments for {service}.",
        ) from error
    except AzureError as error:
        raise Retryable(f"{service} did not answer: {_reason(error)}") from error


def _reason(error: AzureError) -> str:
    """The first line: what follows is for Microsoft's support."""
    return (str(error.message).strip().splitlines() or [type(error).__name__])[0][:300]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds."""
    for name, unit in (("x-ms-retry-after-ms", 1000), ("retry-after-ms", 1000), ("Retry-After", 1)):
        value = headers.get(name, "")
        if value.isdecimal():
            return int(value) / unit
    return None
