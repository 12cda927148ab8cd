"""The live channel: Azure Web PubSub, or the embedded host's stand-in that speaks the same protocol.

One group per session. It carries "this session is now at seq N", and what the model is writing: nothing that a
listener could not do without.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

from nightshift.models import Draft

HUB = "nightshift"
PAUSE = 0.1
"""Seconds between two hints about one session; of those that come meanwhile the last one is given."""
_log = logging.getLogger(__name__)


def group(session_id: str) -> str:
    return f"session-{session_id}"


class NoLive:
    """No channel configured: pages poll."""

    async def hint(self, session_id: str, seq: int) -> None:
        return None

    async def draft(self, session_id: str, draft: Draft) -> None:
        return None

    async def page_url(self, session_id: str) -> str | None:
        return None

    async def close(self) -> None:
        return None


class PubSubLive:
    """`Live` on Web PubSub. Page tokens join one session's group, and have no role: who has one can only listen."""

    def __init__(self, client: WebPubSubServiceClient) -> None:
        self._client: Any = client  # its types are partly unknown
        self._hints: dict[str, int] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}

    @classmethod
    def by_key(cls, connection_string: str) -> PubSubLive:
        """What the embedded host serves, and keys it itself."""
        return cls(WebPubSubServiceClient.from_connection_string(connection_string, hub=HUB, retry_total=0))

    @classmethod
    def by_identity(cls, endpoint: str, credential: AsyncTokenCredential) -> PubSubLive:
        """`endpoint` as https://NAME.webpubsub.azure.com. The credential stays the caller's to close."""
        return cls(WebPubSubServiceClient(endpoint, HUB, credential, retry_total=0))

    async def hint(self, session_id: str, seq: int) -> None:
        """Returns at once: a worker's step does not wait for what only pages look at."""
        self._hints[session_id] = seq
        if session_id not in self._telling:
            self._telling[session_id] = asyncio.create_task(self._tell_hints(session_id))

    async def _tell_hints(self, session_id: str) -> None:
        try:
            while (seq := self._hints.pop(session_id, None)) is not None:
                await self._tell(session_id, {"seq": seq})
                await asyncio.sleep(PAUSE)
        finally:
            del self._telling[session_id]

    async def draft(self, session_id: str, draft: Draft) -> None:
        await self._tell(session_id, {"draft": draft.model_dump(mode="json")})

    async def _tell(self, session_id: str, what: dict[str, Any]) -> None:
        message = {"session": session_id} | what
        try:
            await self._client.send_to_group(group(session_id), message, content_type="application/json")
        except AzureError as error:
            # Nobody depends on it: listeners poll as well. Worth a line, not a failed request.
            _log.warning("live message for session %s was not delivered: %s", session_id, type(error).__name__)

    async def page_url(self, session_id: str) -> str | None:
        try:
            token = await self._client.get_client_access_token(groups=[group(session_id)], minutes_to_expire=60)
        except AzureError as error:
            _log.warning("no live channel for session %s: %s: %s", session_id, type(error).__name__, error)
            return None  # as without a channel: the page polls
        return str(token["url"])

    async def close(self) -> None:
        telling = [*self._telling.values()]
        for each in telling:
            each.cancel()
        await asyncio.gather(*telling, return_exceptions=True)
        await self._client.close()
