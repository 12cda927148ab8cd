"""A server with OpenAI's API: asked again when it fails, and without what it does not take."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nightshift.errors import Retryable
from nightshift.models import FileRef, ModelEndpoint, Tokens
from worker.masking import storable
from worker.model import chat, client, faults, images, responses
from worker.model.patience import Patience
from worker.model.port import ModelFault, Prompt, Reply, Show, unseen
from worker.model.wire import Answer, object_of

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)


class ModelServer:
    """`Model` over HTTP."""

    def __init__(self, endpoint: ModelEndpoint, session_id: str, files: Callable[[FileRef], Awaitable[bytes]]) -> None:
        """`files` brings the content of the session's files; it raises NightshiftError when it cannot."""
        self._endpoint = endpoint
        self._api = chat if self._endpoint.api == "chat" else responses
        self._session_id = session_id
        self._images = images.Images(files)
        self._client: openai.AsyncOpenAI | None = None
        self._identity = client.Identity()
        self._lacks: dict[str, set[str]] = {}
        """By model: what the server refused. It need not be told twice."""
        self._unreadable: set[str] = set()
        """Encrypted reasoning that this server cannot read."""

    async def respond(self, prompt: Prompt, show: Show = unseen) -> Reply:
        # In a thread, and not before it is needed: neither the worker's start nor an interrupt waits for the import.
        self._client = self._client or await asyncio.to_thread(client.connect, self._endpoint, self._identity)
        import openai

        patience, spent = Patience(), Tokens()
        while True:
            lacks = self._lacks.setdefault(prompt.model, set())
            asked = await self._images.inlined(self._readable(prompt), "image" in lacks)
            body, optional = self._api.request(asked, self._session_id, lacks)
            reading = self._api.Reading(show)
            try:
                answer = await self._ask(self._client, body, reading)
                return Reply(prompt.id, prompt.model, storable(answer.output), spent + answer.tokens, answer.stop)
            except openai.OpenAIError as fault:
                if self._can_do_without(fault, prompt, body, optional):
                    continue
                problem = faults.judged(fault, prompt.model, self._endpoint.base_url)
                if not isinstance(problem, Retryable):
                    raise problem from fault
            except Retryable as cut:
                problem = cut
            except json.JSONDecodeError as fault:
                problem = Retryable(f"The model server sent what is no JSON: {fault}")
            except (ValueError, KeyError, TypeError, AttributeError) as fault:
                what = "Chat Completions" if self._api is chat else "Responses API"
                raise ModelFault(
                    "model_refused", f"The model server's answer is not a {what} one: {fault!r}", "Check the endpoint."
                ) from fault
            spent += reading.spent or Tokens()
            await patience.pause(problem, show)

    async def close(self) -> None:
        if self._client:
            await self._client.close()
        await self._identity.close()

    def _readable(self, prompt: Prompt) -> Prompt:
        kept = [item for item in prompt.input if item.get("encrypted_content") not in self._unreadable]
        return replace(prompt, input=kept) if self._unreadable else prompt

    async def _ask(
        self, server: openai.AsyncOpenAI, body: dict[str, Any], reading: responses.Reading | chat.Reading
    ) -> Answer:
        """The events as they came: the log keeps what the server said, not what a client's types make of it."""
        from openai import AsyncStream

        async with await server.post(
            self._api.PATH, cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]
        ) as stream:
            kind = stream.response.headers.get("content-type", "")
            if "html" in kind:
                raise ValueError(f"{kind} from {stream.response.url}")
            if "json" in kind:
                whole: Any = json.loads(await stream.response.aread())
                reading.whole(whole)
            else:
                async for event in stream:
                    reading.add(object_of(event))
        return reading.answer()

    def _can_do_without(
        self, fault: openai.OpenAIError, prompt: Prompt, body: dict[str, Any], optional: set[str]
    ) -> bool:
        if faults.foreign_reasoning(fault):
            found = {item["encrypted_content"] for item in prompt.input if item.get("encrypted_content")}
            if news := found - self._unreadable:
                logger.warning("%s cannot read %d items of reasoning; they are left out", prompt.model, len(news))
                self._unreadable |= news
                return True
        used = optional | {"image"} if images.shown(prompt.input) else optional
        name = faults.unsupported(fault, used - self._lacks[prompt.model])
        if name is None:
            return False
        if name in ("reasoning.effort", "reasoning_effort") and "value" in f"{fault}":
            value = object_of(body.get("reasoning")).get("effort") or body.get("reasoning_effort")
            name = f"effort:{value}"
        logger.warning("%s at %s does not take %s: left out", prompt.model, self._endpoint.base_url, name)
        self._lacks[prompt.model].add(name)
        return True
