"""Where GitHub tokens of sessions come from: a GitHub App of yours, or one token for all.

An App's token opens the one repository that was asked for, with no more than an agent needs, for an hour.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nightshift.errors import Permanent, Retryable, Unprocessable
from nightshift.models import GitHubToken
from nightshift.settings import GitHubApp

NEEDED = {"contents": "write", "pull_requests": "write"}
WELCOME = {
    "issues": "write",
    "workflows": "write",
    "actions": "read",
    "checks": "read",
    "statuses": "read",
    "metadata": "read",
}
"""What agents use as well, as far as the installation grants it."""
EARLY = timedelta(minutes=10)
"""A kept token is replaced by so much before it expires. More than a worker's own margin (worker/credentials.py)."""
_SKEW, _LIFETIME = 60, 540
"""Seconds: GitHub's clock may differ, and it takes no assertion that is good for more than ten minutes."""
_TIMEOUT = 20.0
_PAGE, _PAGES = 100, 10
"""How many repositories of one installation are looked at."""


class OneToken:
    """A personal access token: opens what its owner chose, whichever repository is asked for."""

    def __init__(self, token: str, api_url: str = "") -> None:
        self._token = token
        self._api_url = api_url

    async def token(self, repository: str | None, *, renew: bool = False) -> GitHubToken:
        if not self._token:
            raise Unprocessable(
                "No GitHub access is configured: set GITHUB_TOKEN, or GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY, "
                "for the app and start it again"
            )
        return GitHubToken(token=self._token)

    async def repositories(self) -> list[str]:
        if not self._token:
            return []
        async with client(self._api_url) as http:
            found = await asked(http, f"/user/repos?per_page={_PAGE}&sort=pushed", self._token)
        return [str(each["full_name"]) for each in found]

    async def close(self) -> None:
        return None


class AppTokens:
    """Installation tokens of a GitHub App, kept by repository. Raises Permanent if the key is none."""

    def __init__(self, api_url: str, app: GitHubApp) -> None:
        self._app = app
        self._key = _private_key(app.private_key)
        self._http = client(api_url)
        self._kept: dict[str, GitHubToken] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Only so that of many workers one asks; nothing goes wrong if two do."""

    async def token(self, repository: str | None, *, renew: bool = False) -> GitHubToken:
        """Raises Unprocessable with what to do, or Retryable. `renew`: GitHub refused the last one."""
        if repository is None:
            raise Unprocessable("A GitHub App gives a token for one repository: say which, as owner/name")
        name = repository.lower()
        async with self._asking[name]:
            kept = self._kept.get(name)
            if kept is None or renew or kept.expires_at is None or kept.expires_at - EARLY < datetime.now(UTC):
                self._kept.pop(name, None)
                kept = self._kept[name] = await self._ask(repository)
            return kept

    async def repositories(self) -> list[str]:
        """Of all installations of the App that are not suspended."""
        installations = await self._send("GET", f"/app/installations?per_page={_PAGE}", "its installations")
        found: list[tuple[str, str]] = []
        for each in installations:
            if each["suspended_at"] is None:
                found += await self._repositories_of(each["id"])
        return [name for _, name in sorted(found, reverse=True)]

    async def close(self) -> None:
        await self._http.aclose()

    async def _repositories_of(self, installation: int) -> list[tuple[str, str]]:
        """(when it was pushed to last, owner/name), by a token that reads no more than their names."""
        path, whose = f"/app/installations/{installation}/access_tokens", f"installation {installation}"
        token = (await self._send("POST", path, whose, {"permissions": {"metadata": "read"}}))["token"]
        found: list[tuple[str, str]] = []
        for page in range(1, _PAGES + 1):
            part = await asked(self._http, f"/installation/repositories?per_page={_PAGE}&page={page}", token)
            found += [(each["pushed_at"] or "", each["full_name"]) for each in part["repositories"]]
            if len(found) >= part["total_count"] or not part["repositories"]:
                break
        return found

    async def _ask(self, repository: str) -> GitHubToken:
        found = await self._send("GET", f"/repos/{repository}/installation", repository)
        granted: dict[str, str] = found["permissions"]
        if lacking := [f"{name}: {level}" for name, level in NEEDED.items() if granted.get(name) != level]:
            raise Unprocessable(
                f"The GitHub App may not do its work in {repository}: it lacks {', '.join(lacking)}. Grant it in the "
                f"App's settings, and have the change accepted at {found['html_url']}"
            )
        wanted = NEEDED | {name: _less(level, granted[name]) for name, level in WELCOME.items() if name in granted}
        body = {"repositories": [repository.partition("/")[2]], "permissions": wanted}
        made = await self._send("POST", f"/app/installations/{found['id']}/access_tokens", repository, body)
        return GitHubToken(token=made["token"], expires_at=datetime.fromisoformat(made["expires_at"]))

    async def _send(self, method: str, path: str, repository: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._assertion()}"}
        try:
            answer = await self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise Retryable(f"GitHub did not answer: {type(error).__name__} {error}") from error
        if answer.is_success:
            return answer.json()
        raise self._refusal(answer, repository)

    def _refusal(self, answer: httpx.Response, repository: str) -> Retryable | Unprocessable:
        status, said = answer.status_code, _words(answer)
        after = answer.headers.get("Retry-After", "")
        limited = after.isdecimal() or answer.headers.get("X-RateLimit-Remaining") == "0"
        if status >= 500 or status == 429 or (status == 403 and limited):
            return Retryable(f"GitHub: {status} {said}", float(after) if after.isdecimal() else None)
        match status:
            case 401:
                advice = "check GITHUB_APP_ID, GITHUB_APP_PRIVATE_KEY (the App's, not revoked) and this server's clock"
                return Unprocessable(f"GitHub does not know App {self._app.id} by this key ({said}): {advice}")
            case 403:
                return Unprocessable(
                    f"GitHub refuses the App in {repository} ({said}): its installation is suspended, or the owner "
                    "has yet to allow it; see Installed GitHub Apps in the settings of the owner"
                )
            case 404 | 422:
                return Unprocessable(
                    f"GitHub App {self._app.id} is not installed on {repository} ({said}): install it there, or add "
                    "the repository to its installation, and check the repository's name"
                )
            case _:
                return Unprocessable(f"GitHub gives no token for {repository}: {status} {said}")

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {"iss": self._app.id, "iat": now - _SKEW, "exp": now + _LIFETIME}
        return jwt.encode(claims, self._key, algorithm="RS256")


def client(api_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=api_url,
        headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
        timeout=_TIMEOUT,
        follow_redirects=True,  # a repository that was renamed
    )


async def asked(http: httpx.AsyncClient, path: str, token: str) -> Any:
    """The JSON of an answer. Raises httpx.HTTPError."""
    answer = await http.get(path, headers={"Authorization": f"Bearer {token}"})
    return answer.raise_for_status().json()


def _private_key(text: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(text.replace("\\n", "\n").encode(), None)
    except (ValueError, TypeError) as error:
        key, fault = None, error
    else:
        fault = None
    if not isinstance(key, RSAPrivateKey):
        raise Permanent(
            "GITHUB_APP_PRIVATE_KEY is no RSA private key in PEM, or an unresolved reference",
            "Give the whole file that GitHub made for the App, from '-----BEGIN' on; line ends may be written as \\n.",
        ) from fault
    return key


def _less(wanted: str, granted: str) -> str:
    return "write" if wanted == "write" and granted in ("write", "admin") else "read"


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return HTTPStatus(answer.status_code).phrase
