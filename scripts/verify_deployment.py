#!/usr/bin/env python3
"""Looks at a deployment from outside, as its users do. Exit code 1 if anything is not as it must be.

    python3 scripts/verify_deployment.py https://HOST

    NIGHTSHIFT_TOKEN     an access token of Entra ID or an API key: with it a smoke session is run to its end
    NIGHTSHIFT_SMOKE     seconds that the session may take, default 900; 0: none

Plain Python, nothing to install: it runs where azd runs.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

COLD_START = 180.0
"""Seconds. A new deployment unpacks its libraries before it answers."""
TASK = "Answer with the single word READY. Use no tools and change nothing."


class Failed(Exception):
    """A check found something else than it should. Its words are for people."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    location: str = ""


class Client:
    def __init__(self, url: str, token: str = "") -> None:
        self.url, self._token = url.rstrip("/"), token

    def call(self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None) -> Answer:
        """Raises OSError if nobody answers. A redirect is an answer: it is not followed."""
        sent = {"Accept": "application/json", **(headers or {})}
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        if self._token:
            sent["X-API-Key" if self._token.startswith("ns_") else "Authorization"] = (
                self._token if self._token.startswith("ns_") else f"Bearer {self._token}"
            )
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=sent)  # noqa: S310
        opener = urllib.request.build_opener(_NoRedirect())
        try:
            with opener.open(request, timeout=60) as answer:
                return Answer(answer.status, _parsed(answer.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _parsed(error.read()), error.headers.get("Location", ""))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:500]


def check_health(client: Client) -> str:
    deadline = time.monotonic() + COLD_START
    while True:
        try:
            answer = client.call("GET", "/api/health")
            if answer.status == 200 and answer.body.get("status") == "ok":
                return f"version {answer.body.get('version', '?')}"
            last = f"{answer.status}: {answer.body}"
        except OSError as error:
            last = str(error)
        if time.monotonic() > deadline:
            raise Failed(f"/api/health: {last}")
        time.sleep(5)


def check_ready(client: Client) -> str:
    """Every dependency, if the app tells."""
    answer = client.call("GET", "/api/ready")
    if answer.status == 404:
        return "this version does not tell"
    if answer.status != 200:
        raise Failed(f"/api/ready: {answer.status}: {answer.body}")
    return "all dependencies"


def check_refused(client: Client) -> str:
    """Without a token, with a made-up one, and with a header that only the platform may write."""
    forged = {"X-MS-CLIENT-PRINCIPAL": "eyJhdXRoX3R5cCI6ImFhZCIsImNsYWltcyI6W119", "X-MS-CLIENT-PRINCIPAL-ID": "admin"}
    anonymous = Client(client.url)
    for what, answer in {
        "no token": anonymous.call("GET", "/api/sessions"),
        "a made-up token": Client(client.url, "made-up").call("GET", "/api/sessions"),
        "a made-up key": Client(client.url, "ns_made_up").call("GET", "/api/sessions"),
        "a forged principal": anonymous.call("GET", "/api/sessions", headers=forged),
        "no worker token": anonymous.call("GET", "/api/worker/session"),
        "no management key": anonymous.call("GET", "/runtime/webhooks/durabletask/instances"),
    }.items():
        if answer.status not in (401, 403) and not (what == "no management key" and answer.status == 404):
            raise Failed(f"{what} was answered with {answer.status}, not 401: {str(answer.body)[:200]}")
    return "401 without a credential"


def check_https(client: Client) -> str:
    if not client.url.startswith("https://"):
        return "not over https; left out"
    answer = Client("http://" + client.url.removeprefix("https://")).call("GET", "/api/health")
    if answer.status not in (301, 302, 307, 308) or not answer.location.startswith("https://"):
        raise Failed(f"http is answered with {answer.status} {answer.location}")
    return "http is sent to https"


def smoke_session(client: Client, seconds: float) -> str:
    """From a task to its answer and away again: store, hub, machine, model. Cleaned up whatever happens."""
    created = client.call("POST", "/api/sessions", {"message": TASK, "title": "Smoke session"}, headers=_once())
    if created.status != 202:
        raise Failed(f"POST /api/sessions: {created.status}: {created.body}")
    path = f"/api/sessions/{created.body['id']}"
    try:
        return _until_answered(client, path, seconds)
    finally:
        gone = client.call("DELETE", path, headers=_once())
        if gone.status not in (202, 404):
            print(f"        the smoke session stays: DELETE {path}: {gone.status}")


def _until_answered(client: Client, path: str, seconds: float) -> str:
    started = time.monotonic()
    phase = ""
    while time.monotonic() - started < seconds:
        seen = client.call("GET", path)
        if seen.status != 200:
            raise Failed(f"GET {path}: {seen.status}: {seen.body}")
        if seen.body["phase"] != phase:
            phase = seen.body["phase"]
            print(f"        {time.monotonic() - started:4.0f} s  {phase} {seen.body.get('stage', '')}")
        if phase == "failed":
            raise Failed(f"the session failed: {seen.body.get('failure')}")
        if phase == "waiting":
            items = client.call("GET", f"{path}/items?after=0&limit=100").body["items"]
            if any(item["kind"] == "assistant_message" for item in items):
                return f"answered after {time.monotonic() - started:.0f} seconds"
        time.sleep(3)
    raise Failed(f"the session was not answered within {seconds:.0f} seconds; it stands at {phase}")


def _once() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__)
        return 2
    token = os.environ.get("NIGHTSHIFT_TOKEN", "")
    seconds = float(os.environ.get("NIGHTSHIFT_SMOKE", "900"))
    client = Client(arguments[0], token)
    checks: dict[str, Callable[[], str]] = {
        "health": lambda: check_health(client),
        "ready": lambda: check_ready(client),
        "https": lambda: check_https(client),
        "refused": lambda: check_refused(client),
    }
    if token and seconds:
        checks["session"] = lambda: smoke_session(client, seconds)
    else:
        print("left out  session: NIGHTSHIFT_TOKEN is not set")
    failed = 0
    for name, check in checks.items():
        try:
            print(f"ok        {name}: {check()}", flush=True)
        except (Failed, OSError, KeyError, AttributeError) as error:
            failed += 1
            print(f"FAILED    {name}: {error}", flush=True)
            if name == "health":
                break  # whatever comes after it would fail as well
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
