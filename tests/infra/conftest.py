"""What tests of infra/ share: a server on loopback, and stand-ins for the Azure tools that write down their calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    short_by: int = 0
    """Bytes that are promised and not sent."""


type Answering = Callable[[Request], Reply]


@pytest.fixture
def serve() -> Iterator[Callable[[Answering], str]]:
    """serve(answering) -> URL. Stops with the test."""
    servers: list[ThreadingHTTPServer] = []

    def start(answering: Answering) -> str:
        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = answering(Request(self.command, self.path, headers, self.rfile.read(length)))
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) + reply.short_by))
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@dataclass
class Tools:
    """`az`, `azd` and `curl` that write down how they were called, and answer what the test says."""

    folder: Path
    environment: dict[str, str]

    def answer(self, start: str, text: str = "", code: int = 0) -> None:
        """What a call that begins with these words prints, and its exit code. The latest word counts."""
        with (self.folder / "answers").open("a") as file:
            file.write(json.dumps([start, text, code]) + "\n")

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / "scripts" / "azure" / script), *arguments],
            env=self.environment | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )


_STAND_IN = (
    f"#!{sys.executable} -SE"
    + """
import json, os, pathlib, sys
folder = pathlib.Path(os.environ["STAND_IN"])
call = " ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]])
with (folder / "calls").open("a") as file:
    file.write(call.replace("\\n", " ") + "\\n")
for word in sys.argv:
    if word.startswith("@"):  # what is handed over in a file
        with (folder / "bodies").open("a") as file:
            file.write(pathlib.Path(word[1:]).read_text() + "\\n")
found = ["", "", 0]
if (folder / "answers").exists():
    for line in (folder / "answers").read_text().splitlines():
        start, text, code = json.loads(line)
        if call.startswith(start):
            found = [start, text, code]
if found[1]:
    print(found[1])
sys.exit(found[2])
"""
)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("az", "azd", "curl", "sleep"):
        (bin / name).write_text(_STAND_IN)
        (bin / name).chmod(0o755)
    environment = {
        "PATH": f"{bin}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "STAND_IN": str(tmp_path),
        "AZURE_ENV_NAME": "dev",
        "AZURE_LOCATION": "swedencentral",
        "AZURE_SUBSCRIPTION_ID": "sub",
        "AZURE_RESOURCE_GROUP": "rg-nightshift-dev",
        "NIGHTSHIFT_VAULT_NAME": "kv",
        "NIGHTSHIFT_APP_NAME": "func",
        "NIGHTSHIFT_WORKER_STORAGE": "stworker",
        "NIGHTSHIFT_GALLERY": "gal",
        "NIGHTSHIFT_IMAGE_TEMPLATE": "worker-abc",
        "NIGHTSHIFT_BUDGET_START": "2026-11-01",
    }
    made = Tools(tmp_path, environment)
    made.answer("az account show", "sub")
    made.answer("az provider show", "Registered")
    made.answer("curl", "203.0.113.7")
    return made
