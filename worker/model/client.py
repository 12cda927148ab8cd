"""HTTP to any server with OpenAI's API, Azure's v1 API included.

Not by OpenAI's own client: its types take longer to import than all of the worker's start may, and nothing of them is
used. A body goes out as it is, and the events are kept as they come.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from nightshift.models import IDENTITY_SCOPE, ModelEndpoint
from worker.model import faults
from worker.model.port import ModelFault
from worker.model.wire import object_of

OPENAI = "https://api.openai.com/v1"
CONNECT, SILENCE = 15.0, 600.0
"""Seconds. A model that thinks hard may be silent for minutes, and a server that does not stream is until the end."""


class Client:
    def __init__(self, endpoint: ModelEndpoint) -> None:
        self.url = (endpoint.base_url or OPENAI).rstrip("/")
        self._endpoint = endpoint
        self._identity = Identity()
        timeout = httpx.Timeout(SILENCE, connect=CONNECT)
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=True)

    @asynccontextmanager
    async def post(self, path: str, body: dict[str, Any]) -> AsyncGenerator[httpx.Response]:
        """The answer, whose content is still to come. Raises httpx.RequestError, faults.Refused, or ModelFault when
        there is no key."""
        headers = {
            "Authorization": f"Bearer {await self._key()}",
            "Accept": "text/event-stream, application/json",
            "Content-Type": "application/json",
        }
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        async with self._http.stream("POST", self.url + path, content=content, headers=headers) as response:
            if response.status_code >= 400:
                await response.aread()
                raise faults.Refused(response)
            yield response

    async def close(self) -> None:
        await self._http.aclose()
        await self._identity.close()

    async def _key(self) -> str:
        if self._endpoint.auth == "identity":
            return await self._identity.token()
        if not self._endpoint.api_key:
            raise ModelFault(
                "model_access",
                "The model client cannot start: it has no key.",
                "Configure the model endpoint and its key.",
            )
        return self._endpoint.api_key


async def events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Server-sent events, whose data is JSON. Raises json.JSONDecodeError, httpx.RequestError, and what an error among
    them means."""
    data, rest = list[bytes](), b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            field, _, value = line.rstrip(b"\r").partition(b":")
            if field == b"data":
                data.append(value)
            elif not field and not value and data:
                content, data = b"\n".join(data).strip(), []
                if content == b"[DONE]":
                    return
                event = object_of(json.loads(content))
                if error := event.get("error"):
                    raise faults.of_body(error)
                yield event


class Identity:
    """Signs in as the machine: its managed identity in Azure, a signed-in developer elsewhere."""

    def __init__(self) -> None:
        self._credential: Any = None

    async def token(self) -> str:
        """Cached by the library until shortly before it expires."""
        from azure.core.exceptions import AzureError
        from azure.identity.aio import DefaultAzureCredential

        self._credential = self._credential or DefaultAzureCredential()
        try:
            return (await self._credential.get_token(IDENTITY_SCOPE)).token
        except AzureError as fault:
            advice = "Give the machines' identity the role 'Cognitive Services OpenAI User' on the model account."
            reason = f"This machine's identity gets no token for the model: {fault.message}"
            raise ModelFault("model_access", reason, advice) from fault

    async def close(self) -> None:
        if self._credential:
            await self._credential.close()
