"""The model server. One small Protocol, so that another API can come later; today OpenAI's Responses API."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import Any, Protocol

import openai

from nightshift.errors import ContextTooLong, Permanent
from nightshift.models import ModelEndpoint, Tokens
from worker.masking import storable

logger = logging.getLogger(__name__)

RETRIES = 5
"""By the client itself: connection errors, 408, 409, 429 and 5xx, honouring Retry-After up to two minutes."""
LONG_PAUSES = 2
"""How often a longer Retry-After is waited for on top of that."""
LONGEST_PAUSE = 600.0
TIMEOUT = 900.0


@dataclass(frozen=True)
class Reply:
    """One answer of the model: `output` holds the API's own items, unchanged; `tokens` is of this call."""

    id: str
    model: str
    output: list[dict[str, Any]]
    tokens: Tokens


class Model(Protocol):
    async def respond(
        self,
        instructions: str,
        input: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        *,
        max_output_tokens: int | None = None,
    ) -> Reply:
        """May be cancelled at any time. Raises Permanent, after its own retries, with advice for a person, and
        ContextTooLong, which is one, if the server refuses the request for its length."""
        ...


class ResponsesModel:
    """Responses API without server-side state: reasoning travels encrypted in the log."""

    def __init__(self, endpoint: ModelEndpoint, model: str, session_id: str) -> None:
        self._endpoint = endpoint
        self._model = model
        self._session_id = session_id
        self._client: openai.AsyncOpenAI | None = None

    async def respond(
        self,
        instructions: str,
        input: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        *,
        max_output_tokens: int | None = None,
    ) -> Reply:
        request: Any = {
            "model": self._model,
            "instructions": instructions,
            "input": input,
            "tools": tools,
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "parallel_tool_calls": True,
            "prompt_cache_key": self._session_id,
        }
        if max_output_tokens:
            request["max_output_tokens"] = max_output_tokens
        for pauses_left in range(LONG_PAUSES, -1, -1):
            try:
                return self._reply(storable(json.loads(await self._create(request))))
            except openai.APIStatusError as fault:
                pause = _retry_after(fault)
                if _too_long(fault):
                    raise ContextTooLong(f"The request is longer than {self._model} takes: {fault}") from fault
                if fault.status_code not in (429, 503) or not pauses_left or not 0 < pause <= LONGEST_PAUSE:
                    raise Permanent(*self._explain(fault)) from fault
                logger.warning("the model server asks for %.0f s", pause)
                await asyncio.sleep(pause)
            except (openai.OpenAIError, ValueError, KeyError, TypeError) as fault:
                raise Permanent(*self._explain(fault)) from fault
        raise AssertionError("unreachable: the last round returns or raises")

    async def _create(self, request: Any) -> str:
        """The answer as it came: the log keeps what the API said, not what a client library makes of it."""
        responses: Any = self._connect().responses.with_raw_response
        raw = await responses.create(**request)
        return raw.http_response.text

    def _connect(self) -> openai.AsyncOpenAI:
        """Late, so that missing credentials end a turn with a reason, not the worker."""
        if not self._client:
            self._client = openai.AsyncOpenAI(
                base_url=self._endpoint.base_url,
                api_key=self._endpoint.api_key or None,
                max_retries=RETRIES,
                timeout=TIMEOUT,
            )
        return self._client

    def _reply(self, body: dict[str, Any]) -> Reply:
        if body.get("status") == "failed":
            raise Permanent(f"The model gave up: {body.get('error')}", "Send the message again.")
        usage: dict[str, Any] = body.get("usage") or {}
        tokens = Tokens(
            input=_count(usage, "input_tokens"),
            cached=_count(usage.get("input_tokens_details"), "cached_tokens"),
            output=_count(usage, "output_tokens"),
            reasoning=_count(usage.get("output_tokens_details"), "reasoning_tokens"),
            calls=1,
        )
        return Reply(body["id"], self._model, body["output"], tokens)

    def _explain(self, fault: Exception) -> tuple[str, str]:
        """What happened, and what a person can do."""
        match fault:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return f"The model server refused its key: {fault}", "Check the key or role of the model endpoint."
            case openai.NotFoundError():
                return f"The model server has no {self._model!r}: {fault}", "Choose another model or deploy this one."
            case openai.RateLimitError():
                return f"The model server limits the rate: {fault}", "Wait, or raise the quota; then send a message."
            case openai.BadRequestError():
                return f"The model server refused the request: {fault}", "Start a new session if it happens again."
            case openai.APIConnectionError():
                return f"The model server does not answer: {fault}", f"Is {self._endpoint.base_url} up and reachable?"
            case openai.APIStatusError():
                return f"The model server failed: {fault}", "Send a message to try again."
            case openai.OpenAIError():
                return f"The model client cannot start: {fault}", "Configure the model endpoint and its key."
            case _:
                return f"The model server's answer is not a Responses API one: {fault!r}", "Check the endpoint's URL."


def _count(usage: dict[str, Any] | None, name: str) -> int:
    """0 where a compatible server leaves it out."""
    return (usage or {}).get(name) or 0


def _too_long(fault: openai.APIStatusError) -> bool:
    """Only the code is typed, and compatible servers have none."""
    words = ("context_length_exceeded", "context length", "context window", "context size")
    return fault.status_code in (400, 413) and any(word in str(fault).lower() for word in words)


def _retry_after(fault: openai.APIStatusError) -> float:
    header = fault.response.headers.get("retry-after", "")
    return float(header) if header.isdigit() else 0.0
