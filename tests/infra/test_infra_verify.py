"""verify_deployment.py, against stand-ins of an app that does as it should and of some that do not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.infra.conftest import ROOT, Answering, Reply, Request


@dataclass
class App:
    """The API as far as the script uses it. Any field may be made wrong by a test."""

    health: int = 200
    anonymous: int = 401
    phases: list[str] = field(default_factory=lambda: ["starting", "working", "waiting"])
    answers: bool = True
    deleted: list[str] = field(default_factory=list[str])

    def __call__(self, request: Request) -> Reply:
        path = request.path.partition("?")[0]
        if path == "/api/health":
            return _json({"status": "ok", "version": "1"}, self.health)
        if path == "/api/ready":
            return _json({"detail": "none"}, 404)
        if request.headers.get("authorization") != "Bearer good":
            return _json({"detail": "no"}, self.anonymous)
        if request.method == "POST" and path == "/api/sessions":
            return _json({"id": "s1"}, 202)
        if request.method == "DELETE":
            self.deleted.append(path)
            return _json({}, 202)
        if path.endswith("/items"):
            return _json({"items": [{"kind": "assistant_message"}] if self.answers else []})
        phase = self.phases.pop(0) if len(self.phases) > 1 else self.phases[0]
        return _json({"phase": phase, "stage": "", "failure": {"reason": "quota"} if phase == "failed" else None})


def _json(body: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


_RUN = """
import sys, time
sys.path.insert(0, sys.argv[1])
import scripts.verify_deployment as it
it.COLD_START = 0
time.sleep = lambda _: None
sys.exit(it.main(sys.argv[2:]))
"""


def verify(url: str, token: str = "", smoke: str = "30") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _RUN, str(ROOT), url]
    environment = {"NIGHTSHIFT_TOKEN": token, "NIGHTSHIFT_SMOKE": smoke}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_good_deployment(serve: Callable[[Answering], str]) -> None:
    app = App()
    result = verify(serve(app), "good")
    assert result.returncode == 0, result.stdout
    assert app.deleted == ["/api/sessions/s1"]
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("ok")] == [
        "health:",
        "ready:",
        "https:",
        "refused:",
        "session:",
    ]


def test_without_a_token_the_session_is_left_out_and_said_so(serve: Callable[[Answering], str]) -> None:
    result = verify(serve(App()))
    assert result.returncode == 0
    assert "left out  session" in result.stdout


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (App(health=503), "FAILED    health: /api/health: 503"),
        (App(anonymous=200), "FAILED    refused: no token was answered with 200"),
        (App(anonymous=500), "was answered with 500, not 401"),
        (App(phases=["starting", "failed"]), "the session failed"),
    ],
    ids=["down", "open to all", "broken refusals", "session fails"],
)
def test_a_bad_deployment(serve: Callable[[Answering], str], app: App, message: str) -> None:
    result = verify(serve(app), "good")
    assert result.returncode == 1
    assert message in result.stdout


def test_a_session_that_never_ends_is_cleaned_up_too(serve: Callable[[Answering], str]) -> None:
    app = App(phases=["working"])
    result = verify(serve(app), "good", smoke="1")
    assert result.returncode == 1
    assert "not answered within 1 seconds; it stands at working" in result.stdout
    assert app.deleted == ["/api/sessions/s1"]


def test_nobody_there() -> None:
    assert verify("http://127.0.0.1:9").returncode == 1
