"""Machines as containers of a session pool (Azure Container Apps, dynamic sessions): up in a second, nothing is kept.

The pool gives a container to whoever sends a request with a new identifier, here the machine's name, and
worker/container.py answers in it. So nothing but a start is sent before the pool has said that the session is there. A
container has no disk that outlives it: what was not pushed is gone after deallocation, which is deletion here.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import httpx
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError

from nightshift.azure import retry_after
from nightshift.errors import Permanent, Retryable, may_pass
from nightshift.machines.local import machine_name
from nightshift.models import Failure, MachineInfo, MachineSpec, MachineState, Power

VERSION = "2025-02-02-preview"
"""Of the pool's management calls; the newest that is documented with all three of them."""
SCOPE = "https://dynamicsessions.io/.default"
_PREFIX = machine_name("")
_log = logging.getLogger(__name__)


class ContainerMachines:
    """`Machines` in a pool of custom containers that holds nothing else."""

    def __init__(self, endpoint: str, credential: AsyncTokenCredential) -> None:
        """`endpoint` as https://POOL.ENVIRONMENT.REGION.azurecontainerapps.io. The caller closes the credential."""
        self._credential = credential
        self._http = httpx.AsyncClient(base_url=endpoint, timeout=httpx.Timeout(60, connect=10))

    async def begin_start(self, spec: MachineSpec) -> None:
        name = machine_name(spec.session_id)
        answer = await self._ask("POST", "invocations", name, content=spec.model_dump_json())
        if answer.status_code == 409:
            _log.info("%s: start %d comes late: %s", name, spec.generation, answer.text[:200])
        elif answer.status_code == 404:  # so the pool says that all its containers are taken
            raise Retryable("The pool has no container left. Raise its maximum of concurrent sessions.", 30)
        elif answer.is_error:
            raise Permanent(
                f"The container refused its start: {answer.status_code} {answer.text[:300]}",
                "Deploy the image of this version to the session pool.",
            )

    async def state(self, session_id: str) -> MachineState:
        name = machine_name(session_id)
        if (await self._manage("getSession", name)).status_code == 404:
            return MachineState(power=Power.ABSENT)
        answer = await self._ask("GET", "ping", name)
        if answer.is_error:
            raise Retryable(f"The container of {name} does not answer: {answer.status_code}")
        ping: dict[str, Any] = answer.json()
        generation = int(ping["generation"])
        if not ping["session_id"]:
            # It went between the two calls, and the second got a fresh one.
            await self.begin_deallocate(session_id)
            return MachineState(power=Power.ABSENT)
        if ping["status"] == "HealthyBusy":
            return MachineState(power=Power.RUNNING, generation=generation, stage="worker starting")
        reason = f"The worker ended by itself (exit code {ping['exit_code']})."
        failure = Failure(stage="worker", reason=reason, advice="The pool's console log has its last words.")
        return MachineState(power=Power.FAILED, generation=generation, failure=failure)

    async def begin_deallocate(self, session_id: str) -> None:
        await self._manage("stopSession", machine_name(session_id))

    async def begin_delete(self, session_id: str) -> None:
        await self.begin_deallocate(session_id)

    async def list_all(self) -> list[MachineInfo]:
        """Generation and power are not looked at: that would cost a request each, and the janitor needs neither."""
        found: list[MachineInfo] = []
        while True:
            answer = await self._manage("listSessions", skip=len(found))
            page: dict[str, Any] = answer.json()
            entries: list[dict[str, Any]] = page.get("value") or []
            found += [_info(each) for each in entries]
            if not entries or not page.get("nextLink"):
                return [each for each in found if each.name.startswith(_PREFIX)]

    async def close(self) -> None:
        await self._http.aclose()

    async def _manage(self, verb: str, identifier: str | None = None, **query: int) -> httpx.Response:
        answer = await self._ask("POST", f".management/{verb}", identifier, query={"api-version": VERSION, **query})
        if answer.is_error and answer.status_code != 404:
            raise Permanent(
                f"The session pool refused {verb}: {answer.status_code} {answer.text[:300]}",
                "Is NIGHTSHIFT_CONTAINER_POOL the management endpoint of a pool of custom containers?",
            )
        return answer

    async def _ask(
        self,
        method: str,
        path: str,
        identifier: str | None,
        content: str | None = None,
        query: dict[str, str | int] | None = None,
    ) -> httpx.Response:
        """Raises Retryable for what may pass, Permanent where the app has no right."""
        query = (query or {}) | ({} if identifier is None else {"identifier": identifier})
        try:
            token = await self._credential.get_token(SCOPE)
            headers = {"Authorization": f"Bearer {token.token}"}
            if content is not None:
                headers["Content-Type"] = "application/json"
            answer = await self._http.request(method, path, params=query, headers=headers, content=content)
        except (httpx.TransportError, ClientAuthenticationError) as fault:
            raise Retryable(f"The session pool does not answer: {type(fault).__name__} {fault}") from fault
        if answer.status_code in (401, 403):
            raise Permanent(
                f"The session pool refused the app: {answer.status_code}",
                "Give its identity the role 'Azure ContainerApps Session Executor' on the pool.",
            )
        if may_pass(answer.status_code):
            raise Retryable(
                f"The session pool is busy: {answer.status_code} {answer.text[:200]}", retry_after(answer.headers)
            )
        return answer


def _info(session: dict[str, Any]) -> MachineInfo:
    name = str(session["identifier"])
    created = session.get("createdAt")
    return MachineInfo(
        name=name,
        session_id=name.removeprefix(_PREFIX),
        power=Power.RUNNING,
        generation=0,
        started_at=datetime.fromisoformat(created) if created else None,
    )
