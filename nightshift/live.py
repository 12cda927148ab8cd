"""The live channel: Azure Web PubSub, or the embedded host's stand-in that speaks the same protocol.

One group per session. It carries "this session is now at seq N", and what the model is writing: nothing that a
listener could not do without.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from azure.core.exceptions import AzureError
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from nightshift.models import Draft

HUB = "nightshift"
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


class PubSubLive:
    """`Live` on Web PubSub."""

    def __init__(self, connection_string: str) -> None:
        self._client: Any = WebPubSubServiceClient.from_connection_string(connection_string, hub=HUB, retry_total=0)

    async def hint(self, session_id: str, seq: int) -> None:
        await self._tell(session_id, {"seq": seq})

    async def draft(self, session_id: str, draft: Draft) -> None:
        await self._tell(session_id, {"draft": draft.model_dump(mode="json")})

    async def _tell(self, session_id: str, what: dict[str, Any]) -> None:
        message = json.dumps({"session": session_id} | what)
        try:
            await asyncio.to_thread(
                self._client.send_to_group, group(session_id), message, content_type="application/json"
            )
        except AzureError as error:
            # Nobody depends on it: listeners poll as well. Worth a line, not a failed request.
            _log.warning("live message for session %s was not delivered: %s", session_id, type(error).__name__)

    async def page_url(self, session_id: str) -> str | None:
        token = await asyncio.to_thread(
            self._client.get_client_access_token, groups=[group(session_id)], minutes_to_expire=60
        )
        return str(token["url"])
