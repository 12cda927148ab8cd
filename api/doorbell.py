"""Waking a session's orchestration. What matters is in the store before the bell is rung."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, Protocol

import grpc
from azure.durable_functions import DurableFunctionsClient
from durabletask.client import OrchestrationStatus
from durabletask.history import HistoryEvent

from nightshift import telemetry

_log = logging.getLogger(__name__)
ORCHESTRATION = "session"
_ENDED = {OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED}


class Doorbell(Protocol):
    """What routes need of the durable client."""

    async def start(self, session_id: str) -> None:
        """Start the session's orchestration unless it runs already."""
        ...

    async def ring(self, session_id: str, event: str) -> None:
        """Raise `user_message`, `worker_report` or `control`. Nobody listening is no error: the store has it all."""
        ...

    async def knows(self, session_id: str) -> bool:
        """Whether there is an orchestration of this session. Raises grpc.RpcError where the task hub is away."""
        ...

    async def history(self, session_id: str) -> list[HistoryEvent]:
        """What the orchestration did and met since it last continued as new, in order; nothing if there is none.
        Raises grpc.RpcError where the task hub is away, or has no histories to read."""
        ...

    def management_urls(self, session_id: str) -> dict[str, str]:
        """Durable's own status and management URLs. They carry a system key: for admins only."""
        ...


class DurableDoorbell:
    """`Doorbell` on the durable client of one invocation."""

    def __init__(self, client: DurableFunctionsClient, request: Any = None) -> None:
        self._client = client
        self._request = request

    async def start(self, session_id: str) -> None:
        if await self._runs(session_id):
            return
        try:
            await self._client.schedule_new_orchestration(
                ORCHESTRATION, input={"session_id": session_id}, instance_id=session_id
            )
        except grpc.RpcError:
            # Two starts at once: the hub refuses the second, and the session runs all the same.
            if not await self._runs(session_id):
                raise

    async def ring(self, session_id: str, event: str) -> None:
        """Never raises: what the bell is about is stored, and the janitor wakes sessions with unserved messages.

        A session whose orchestration is gone (a task hub that was replaced) is given one again.
        """
        with telemetry.span(session_id, "ring", event=event):
            try:
                await self.start(session_id)
                await self._client.raise_orchestration_event(session_id, event, data={"session_id": session_id})
            except grpc.RpcError as error:
                _log.warning("session %s was not woken for %s (%s); the janitor will", session_id, event, _code(error))

    async def knows(self, session_id: str) -> bool:
        return await self._client.get_orchestration_state(session_id, fetch_payloads=False) is not None

    async def history(self, session_id: str) -> list[HistoryEvent]:
        return await self._client.get_orchestration_history(session_id) if await self.knows(session_id) else []

    async def _runs(self, session_id: str) -> bool:
        state = await self._client.get_orchestration_state(session_id, fetch_payloads=False)
        return state is not None and state.runtime_status not in _ENDED

    def management_urls(self, session_id: str) -> dict[str, str]:
        return dict(self._client.create_http_management_payload(self._request, session_id))


current_doorbell: ContextVar[Doorbell] = ContextVar("current_doorbell")
"""Set by the HTTP function for each invocation: FastAPI's handlers find the durable client here."""


def _code(error: grpc.RpcError) -> str:
    code = getattr(error, "code", None)
    return str(code()) if callable(code) else type(error).__name__
