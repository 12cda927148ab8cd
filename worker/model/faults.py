"""What an error of the model server means: try again, ask without something, or tell a person."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

from nightshift.errors import ContextTooLong, NightshiftError, Permanent, Retryable, may_pass
from worker.model.port import ModelFault

if TYPE_CHECKING:
    import openai

TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|window|size)|maximum context|prompt is too long"
    r"|too many (input |total )?tokens|input is too long"
)
REFUSES = re.compile(
    r"unsupported|not support|n't support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|invalid"
    r"|only supported|not available|not enabled|must be verified"
)
NO_MODEL = re.compile(r"model_not_found|deploymentnotfound|model.{0,80}does not exist|unknown_model|no such model")
OUT_OF_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}


def judged(fault: openai.OpenAIError, model: str, url: str | None) -> NightshiftError:
    """As one of ours: Retryable, ContextTooLong or ModelFault."""
    import openai

    match fault:
        case openai.APIConnectionError():
            return Retryable(f"The model server at {url or 'api.openai.com'} does not answer ({_cause(fault)})")
        case openai.APIStatusError():
            return _of_status(fault, model)
        case openai.APIError():
            return of_body(fault.body, fault.message)
        case _:
            return ModelFault(
                "model_access",
                f"The model client cannot start: {fault}",
                "Configure the model endpoint and its key.",
            )


def of_body(body: Any, otherwise: str = "") -> NightshiftError:
    """An error that came in the middle of an answer."""
    error: dict[str, Any] = body if isinstance(body, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    code, message = str(error.get("code") or ""), str(error.get("message") or otherwise or "no reason given")
    if "content_filter" in code:
        return _filtered(message)
    if TOO_LONG.search(f"{code} {message}".lower()):
        return _too_long(message)
    if code in OUT_OF_MONEY:
        return _unpaid(message)
    if code in ("invalid_prompt", "invalid_request_error"):
        return ModelFault("model_refused", f"The model server refused the request: {message}", _ANEW)
    return Retryable(f"The model server broke off: {message}")


def unsupported(fault: openai.OpenAIError, used: Iterable[str]) -> str | None:
    """Which of the things in the request that can be done without the server refuses."""
    import openai

    if not isinstance(fault, openai.BadRequestError | openai.UnprocessableEntityError):
        return None
    said, param = _said(fault), fault.param or ""
    if TOO_LONG.search(said):
        return None
    for name in sorted(used, key=len, reverse=True):
        named = param == name or param.startswith((f"{name}.", f"{name}["))
        if named or (REFUSES.search(said) and re.search(rf"(?<![a-z]){re.escape(name)}", said)):
            return name
    return None


def foreign_reasoning(fault: openai.OpenAIError) -> bool:
    """Whether it cannot read the encrypted reasoning: another organisation, account or model wrote it."""
    import openai

    return isinstance(fault, openai.BadRequestError) and (
        fault.code == "invalid_encrypted_content"
        or ("encrypted content" in _said(fault) and re.search("verif|decrypt|pars", _said(fault)) is not None)
    )


def _of_status(fault: openai.APIStatusError, model: str) -> NightshiftError:
    status, said, message = fault.status_code, _said(fault), f"{fault.message[:2000]}"
    passes = may_pass(status) or status == 409  # "conflict": OpenAI asks for another try
    again = fault.response.headers.get("x-should-retry")
    if fault.code in OUT_OF_MONEY:
        return _unpaid(message)
    if again != "false" and (passes or again == "true"):
        what = "limits the rate" if status == 429 else f"failed ({status})"
        return Retryable(f"The model server {what}: {message[:300]}", retry_after(fault.response.headers))
    if status in (401, 403):
        advice = "Check the key, or the role of the machine's identity, at the model endpoint."
        return ModelFault("model_access", f"The model server refused its key: {message}", advice)
    if status in (400, 413, 422) and TOO_LONG.search(said):
        return _too_long(message)
    if status == 400 and (fault.code == "content_filter" or "responsibleaipolicyviolation" in said):
        return _filtered(message)
    if status == 404 or NO_MODEL.search(said):
        advice = "Choose another model or deploy this one; if it is there, check the endpoint's URL."
        return ModelFault("model_unknown", f"The model server has no {model!r}: {message}", advice)
    if passes:
        return ModelFault("model_unavailable", f"The model server failed: {message}", "Send a message to try again.")
    return ModelFault("model_refused", f"The model server refused the request: {message}", _ANEW)


def retry_after(headers: Any) -> float | None:
    """Seconds, from `retry-after-ms` or `Retry-After` (seconds or a date); None if it does not say."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time())
    except (ValueError, TypeError):
        return None


_ANEW = "Start a new session if it happens again."


def _filtered(message: str) -> ModelFault:
    return ModelFault("content_filter", f"The model server's content filter stopped it: {message}", "Put it otherwise.")


def _too_long(message: str) -> Permanent:
    return ContextTooLong(f"The conversation is longer than the model takes: {message}", "Start a new session.")


def _unpaid(message: str) -> ModelFault:
    return ModelFault(
        "model_quota", f"The model server's quota is used up: {message}", "Raise it, then send a message."
    )


def _said(fault: openai.APIStatusError) -> str:
    return f"{fault.code} {fault.param} {fault.message} {fault.body}".lower()


def _cause(fault: openai.APIConnectionError) -> str:
    """The reason beneath: the client's own words are just 'Connection error.'"""
    cause = fault.__cause__
    return f"{type(cause).__name__}: {cause}".rstrip(": ") if cause else fault.message
