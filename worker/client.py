"""The control plane over HTTP. What may be repeated is repeated until it works; ids make repeats no-ops."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx

from nightshift.errors import BudgetExhausted, Permanent, Retryable, StaleGeneration, Unauthorized, may_pass
from nightshift.models import (
    Draft,
    FileRef,
    GitHubToken,
    Grant,
    ItemsPage,
    NewItem,
    NewReport,
    Reservation,
    WorkerConfig,
)

logger = logging.getLogger(__name__)

BATCH = 50
"""Items that one POST may carry."""
LONGEST_PAUSE = 15.0


class ControlPlane:
    """Every method raises StaleGeneration or Unauthorized when this worker must exit, Permanent when refused."""

    def __init__(self, api_url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(base_url=f"{api_url.rstrip('/')}/api/worker/", headers=headers, timeout=30)

    async def close(self) -> None:
        await self._http.aclose()

    async def session(self) -> WorkerConfig:
        return WorkerConfig.model_validate(await patiently(lambda: self._send("GET", "session")))

    async def items(self, after: int, control_after: int, wait: float) -> ItemsPage:
        """Long-polls for up to `wait` seconds. Tries for ever."""
        query = {"after": after, "control_after": control_after, "wait": wait}
        answer = await patiently(lambda: self._send("GET", "items", params=query, timeout=wait + 30))
        return ItemsPage.model_validate(answer)

    async def append(self, items: Sequence[NewItem]) -> dict[str, int]:
        """The seq of each id. Tries for ever: what was paid for is not thrown away."""
        seqs: dict[str, int] = {}
        for start in range(0, len(items), BATCH):
            body = {"items": [item.model_dump(mode="json") for item in items[start : start + BATCH]]}
            answer = await patiently(lambda body=body: self._send("POST", "items", json=body))
            seqs |= {stored["id"]: stored["seq"] for stored in answer["items"]}
        return seqs

    async def report(self, report: NewReport) -> None:
        """One attempt; raises Retryable."""
        await self._send("POST", "reports", json=report.model_dump(mode="json"))

    async def draft(self, draft: Draft) -> None:
        """One attempt, and a short one; raises Retryable."""
        await self._send("POST", "drafts", json=draft.model_dump(mode="json"), timeout=2)

    async def file(self, file: FileRef) -> bytes:
        """The content of one of the session's files. Raises Retryable after a few tries."""
        return await patiently(lambda: self._ask("GET", f"files/{file.name}"), tries=5)

    async def reserve(self, wanted: Reservation) -> Grant:
        """Tries for ever. Raises BudgetExhausted."""
        body = wanted.model_dump(mode="json")
        return Grant.model_validate(await patiently(lambda: self._send("POST", "reservations", json=body)))

    async def github_token(self, repository: str, renew: bool = False) -> GitHubToken:
        """Raises Retryable after a few tries: somebody waits for the answer and can be told."""
        body = {"repository": repository, "renew": renew}
        answer = await patiently(lambda: self._send("POST", "github-token", json=body), tries=5)
        return GitHubToken.model_validate(answer)

    async def put_file(self, filename: str, content_type: str, content: bytes) -> FileRef:
        """Keep a file with the session. Raises Retryable after a few tries, Permanent if it is refused."""
        name = hashlib.sha256(content).hexdigest()
        headers = {"Content-Type": content_type}
        await patiently(
            lambda: self._send("PUT", f"files/{name}", content=content, headers=headers, timeout=120), tries=5
        )
        return FileRef(name=name, filename=filename, content_type=content_type, size=len(content))

    async def _send(self, method: str, path: str, **options: Any) -> Any:
        content = await self._ask(method, path, **options)
        return json.loads(content) if content else None

    async def _ask(self, method: str, path: str, **options: Any) -> bytes:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TransportError as fault:
            raise Retryable(f"{method} {path}: {type(fault).__name__} {fault}") from fault
        status = response.status_code
        if status < 400:
            return response.content
        reason = f"{method} {path}: {status} {_detail(response)}"
        if status == 401:
            raise Unauthorized(reason)
        if status == 402:
            raise BudgetExhausted(_detail(response))
        if status == 409:
            raise StaleGeneration(reason)
        if may_pass(status):
            raise Retryable(reason, _seconds(response.headers.get("Retry-After")))
        raise Permanent(reason, "The control plane refused the worker's request; its log says more.")


async def patiently[T](call: Callable[[], Awaitable[T]], tries: int | None = None) -> T:
    """Repeat while it raises Retryable, with growing, jittered pauses; for ever unless `tries` is given."""
    attempt = 0
    while True:
        try:
            return await call()
        except Retryable as fault:
            attempt += 1
            if attempt == tries:
                raise
            jitter = random.uniform(0.5, 1.0)  # noqa: S311  no secret hangs on it
            pause = max(jitter * min(LONGEST_PAUSE, 0.2 * 2 ** min(attempt, 10)), fault.retry_after or 0)
            logger.warning("attempt %d: %s; again in %.1f s", attempt, fault, pause)
            await asyncio.sleep(pause)


def _detail(response: httpx.Response) -> str:
    """The problem's own words (problem+json), or the beginning of whatever came instead."""
    try:
        problem = response.json()
        return str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        return response.text[:200]


def _seconds(header: str | None) -> float | None:
    return float(header) if header and header.isdigit() else None
