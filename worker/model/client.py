"""OpenAI's own client, for any server that speaks like it, Azure's v1 API included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.models import IDENTITY_SCOPE, ModelEndpoint
from worker.model.port import ModelFault

if TYPE_CHECKING:
    import openai

CONNECT, SILENCE = 15.0, 600.0
"""Seconds. A model that thinks hard may be silent for minutes, and a server that does not stream is until the end."""


def connect(endpoint: ModelEndpoint, identity: Identity) -> openai.AsyncOpenAI:
    """Takes half a second the first time (the library's types). Raises ModelFault when there is no key."""
    import openai

    try:
        return openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=identity.token if endpoint.auth == "identity" else endpoint.api_key or None,
            max_retries=0,  # patience.py is the one place that tries again
            timeout=openai.Timeout(SILENCE, connect=CONNECT),
        )
    except openai.OpenAIError as fault:
        advice = "Configure the model endpoint and its key."
        raise ModelFault("model_access", f"The model client cannot start: {fault}", advice) from fault


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
