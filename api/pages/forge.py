"""What the pages know of GitHub: repositories to choose from, and how pull requests stand.

Pages never wait long for it: they get the last answer, and a fresh one is fetched when that is old.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from nightshift.errors import Retryable, UserError
from nightshift.github import asked, client
from nightshift.models import PullRequest
from nightshift.ports import GitHub
from nightshift.services import Services

_log = logging.getLogger(__name__)
_REPOSITORY = re.compile(r"(?!\.)[A-Za-z0-9_-][A-Za-z0-9_.-]*/(?!\.)[A-Za-z0-9_.-]+")
"""The agent says which repository it is; nothing else may get into the path."""
_MOST_PULLS = 500
_BAD = {"failure", "timed_out", "cancelled", "action_required", "startup_failure", "stale"}


@dataclass(frozen=True)
class PullState:
    state: str
    """open, draft, merged or closed"""
    checks: str
    """passing, failing, running or none"""


class Kept[T]:
    """The last answer to a question. While it is old, whoever asks has a fresh one fetched."""

    def __init__(self, ask: Callable[[], Awaitable[T]], lifetime: float) -> None:
        self._ask = ask
        self._lifetime = lifetime
        self._value: T | None = None
        self._asked = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def get(self, patience: float = 0) -> T | None:
        """Waits at most `patience` seconds; None if nothing is known yet."""
        if self._task is None and time.monotonic() - self._asked > self._lifetime:
            self._asked = time.monotonic()
            self._task = asyncio.create_task(self._refresh())
        if self._task is not None and patience:
            await asyncio.wait({self._task}, timeout=patience)
        return self._value

    async def _refresh(self) -> None:
        try:
            self._value = await self._ask()
        except (httpx.HTTPError, UserError, Retryable, KeyError, TypeError, ValueError) as error:
            _log.info("GitHub was asked for a page in vain: %s", type(error).__name__)
        finally:
            self._task = None


class Forge:
    """GitHub by the tokens that agents get, too. Without any nothing is known."""

    def __init__(self, api_url: str, github: GitHub) -> None:
        self._api_url = api_url
        self._github = github
        self._repositories = Kept(github.repositories, 300)
        self._pulls: dict[tuple[str, int], Kept[PullState]] = {}

    async def repositories(self) -> list[str]:
        """Those that agents may work in, the ones pushed to last first."""
        return await self._repositories.get(patience=0.5) or []

    async def pulls(self, pulls: list[PullRequest]) -> dict[str, PullState]:
        """By URL, as far as it is known already."""
        known: dict[str, PullState] = {}
        for pull in pulls:
            if _REPOSITORY.fullmatch(pull.repository) and (state := await self._kept(pull).get()) is not None:
                known[pull.url] = state
        return known

    def _kept(self, pull: PullRequest) -> Kept[PullState]:
        key = pull.repository, pull.number
        if key not in self._pulls:
            if len(self._pulls) >= _MOST_PULLS:
                del self._pulls[next(iter(self._pulls))]
            self._pulls[key] = Kept(lambda: self._ask_pull(*key), 30)
        return self._pulls[key]

    async def _ask_pull(self, repository: str, number: int) -> PullState:
        try:
            return await self._look(repository, number, (await self._github.token(repository)).token)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 401:
                raise
            return await self._look(repository, number, (await self._github.token(repository, renew=True)).token)

    async def _look(self, repository: str, number: int, token: str) -> PullState:
        async with client(self._api_url) as http:
            pull = await asked(http, f"/repos/{repository}/pulls/{number}", token)
            state = "merged" if pull.get("merged") else "draft" if pull.get("draft") else str(pull["state"])
            checks = await _runs(http, f"/repos/{repository}/commits/{pull['head']['sha']}/check-runs", token)
        return PullState(state if state in ("open", "draft", "merged") else "closed", _checks(checks))


async def _runs(http: httpx.AsyncClient, path: str, token: str) -> list[dict[str, Any]]:
    try:
        return (await asked(http, f"{path}?per_page=100", token))["check_runs"]
    except httpx.HTTPStatusError as error:
        if error.response.status_code != 403:
            raise
        return []  # an App that may not read checks still shows how the pull request stands


def _checks(runs: list[dict[str, Any]]) -> str:
    if any(run["conclusion"] in _BAD for run in runs):
        return "failing"
    if any(run["status"] != "completed" for run in runs):
        return "running"
    return "passing" if runs else "none"


@lru_cache(maxsize=8)
def _forge(api_url: str, github: GitHub) -> Forge:
    return Forge(api_url, github)


def forge(services: Services) -> Forge:
    return _forge(services.settings.github_api_url, services.github)
