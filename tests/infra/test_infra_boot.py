"""The machine's boot, against a metadata service and a storage account on loopback. The worker is a small stand-in,
but for one test that boots the real one."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT, Answering, Reply, Request

USER_DATA = {"session_id": "s1", "generation": 2, "api_url": "http://127.0.0.1:9", "token": "secret-token"}
ECHO = "import json, sys\nprint({said!r}, json.load(sys.stdin)['generation'], sys.argv[-1])\n"


@dataclass
class Azure:
    """What a machine sees of it."""

    archive: bytes = b""
    user_data: str = base64.b64encode(json.dumps(USER_DATA).encode()).decode()
    broken: Reply | None = None
    asked: list[Request] = field(default_factory=list[Request])

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        if request.path.startswith("/metadata/"):
            if request.headers.get("metadata") != "true":
                return Reply(400)
            if "oauth2/token" in request.path:
                return Reply(body=json.dumps({"access_token": "t0ken"}).encode())
            return Reply(body=self.user_data.encode())
        if request.headers.get("authorization") != "Bearer t0ken":
            return Reply(401)
        if self.broken is not None:
            return self.broken
        etag = f'"{sha256(self.archive).hexdigest()[:8]}"'
        if request.headers.get("if-none-match") == etag:
            return Reply(304)
        return Reply(body=self.archive, headers={"ETag": etag})


@dataclass
class Machine:
    azure: Azure
    url: str
    folder: Path

    def boot(self) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "BOOT_METADATA": self.url,
            "BOOT_IMAGE": str(self.folder / "image"),
            "STATE_DIRECTORY": str(self.folder / "state"),
            "http_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1",
        }
        command = [sys.executable, str(ROOT / "infra" / "image" / "files" / "boot.py")]
        return subprocess.run(
            command, env=environment, cwd=self.work, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def work(self) -> Path:
        """Where the agent works: what lies there is not to be trusted."""
        folder = self.folder / "work"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def releases(self) -> list[str]:
        folder = self.folder / "state" / "releases"
        return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def machine(serve: Callable[[Answering], str], tmp_path: Path) -> Machine:
    azure = Azure(archive=packed(ECHO.format(said="one")))
    url = serve(azure)
    image = tmp_path / "image"
    (image / "venv" / "bin").mkdir(parents=True)
    python = image / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')  # a link would lose the libraries of this one
    python.chmod(0o755)
    (image / "requirements.txt").write_text("")
    (image / "source").write_text(f"{url}/worker/worker.tar.gz\n")
    (tmp_path / "state").mkdir()
    return Machine(azure, url, tmp_path)


def packed(main: str, requirements: str = "", **files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in {
            "worker/__init__.py": "",
            "worker/__main__.py": main,
            "requirements.txt": requirements,
            **files,
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


# The stand-in worker must be importable without a stdin that is meant for it.
def guarded(said: str) -> str:
    return "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in ECHO.format(said=said).splitlines())


def test_a_new_machine_fetches_the_worker_and_becomes_it(machine: Machine) -> None:
    machine.azure.archive = packed(guarded("one"))
    result = machine.boot()
    assert result.stdout == "one 2 s1\n", result.stderr
    assert len(machine.releases) == 1
    assert (machine.folder / "state" / "current").resolve().name == machine.releases[0]


def test_the_token_is_in_no_file_argument_or_environment(machine: Machine) -> None:
    machine.azure.archive = packed(
        "if __name__ == '__main__':\n"
        "    import os, sys\n"
        "    print('secret-' + 'token' in ' '.join(sys.argv) + str(os.environ))\n"
    )
    assert machine.boot().stdout == "False\n"
    written = [path for path in machine.folder.rglob("*") if path.is_file() and b"secret-token" in path.read_bytes()]
    assert written == []


def test_nothing_that_the_agent_left_in_its_folder_is_run(machine: Machine) -> None:
    machine.azure.archive = packed(guarded("one"))
    (machine.work / "worker").mkdir()
    (machine.work / "worker" / "__init__.py").touch()
    (machine.work / "worker" / "__main__.py").write_text("print('planted')")
    (machine.work / "json.py").write_text("print('planted')")
    assert machine.boot().stdout == "one 2 s1\n"


def test_an_unchanged_worker_is_not_fetched_again(machine: Machine) -> None:
    machine.azure.archive = packed(guarded("one"))
    machine.boot()
    machine.azure.asked.clear()
    assert machine.boot().stdout == "one 2 s1\n"
    fetched = [each for each in machine.azure.asked if each.path.startswith("/worker/")]
    assert len(fetched) == 1
    assert "if-none-match" in fetched[0].headers


def test_a_changed_worker_takes_over(machine: Machine) -> None:
    machine.azure.archive = packed(guarded("one"))
    machine.boot()
    machine.azure.archive = packed(guarded("two"))
    assert machine.boot().stdout == "two 2 s1\n"
    assert len(machine.releases) == 2


def test_few_releases_stay(machine: Machine) -> None:
    for number in range(5):
        machine.azure.archive = packed(guarded(str(number)))
        assert machine.boot().stdout == f"{number} 2 s1\n"
    assert len(machine.releases) == 3


@pytest.mark.parametrize(
    ("archive", "broken"),
    [
        (b"not an archive", None),
        (packed("import nowhere_at_all\n"), None),
        (packed(guarded("two"))[:200], None),
        (packed(guarded("two"), **{"../../escaped": "x"}), None),
        (packed(guarded("two"), requirements="no-such-thing-as-this==0\n"), None),
        (b"", Reply(503)),
        (b"", Reply(403)),
        (b"", Reply(404)),
        (b"", Reply(200, b"half", short_by=100)),
    ],
    ids=["garbage", "does not import", "cut off", "leads outside", "libraries", "503", "403", "404", "connection cut"],
)
def test_whatever_goes_wrong_with_an_update_the_one_before_runs(
    machine: Machine, archive: bytes, broken: Reply | None
) -> None:
    machine.azure.archive = packed(guarded("one"))
    machine.boot()
    machine.azure.archive, machine.azure.broken = archive, broken
    result = machine.boot()
    assert result.stdout == "one 2 s1\n", result.stderr
    assert "the release before runs on" in result.stderr
    assert not (machine.folder / "escaped").exists()
    machine.azure.archive, machine.azure.broken = packed(guarded("three")), None
    assert machine.boot().stdout == "three 2 s1\n", "and it recovers"


def test_a_machine_that_never_had_a_worker_fails(machine: Machine) -> None:
    machine.azure.broken = Reply(403)
    result = machine.boot()
    assert result.returncode != 0
    assert "403" in result.stderr


def test_a_machine_of_no_session_fails_at_once(machine: Machine) -> None:
    machine.azure.user_data = ""
    result = machine.boot()
    assert result.returncode != 0
    assert "belongs to no session" in result.stderr


def test_the_real_worker_boots(machine: Machine, serve: Callable[[Answering], str], tmp_path: Path) -> None:
    """What upload_worker.sh packs, unpacked and started: it calls the control plane with its token, is refused, and
    leaves with the exit code that systemd does not restart."""
    archive = tmp_path / "worker.tar.gz"
    subprocess.run([ROOT / "scripts" / "azure" / "upload_worker.sh", "--pack", archive], check=True)
    machine.azure.archive = archive.read_bytes()
    (machine.folder / "image" / "requirements.txt").write_bytes((ROOT / "requirements.txt").read_bytes())
    seen: list[Request] = []

    def control_plane(request: Request) -> Reply:
        seen.append(request)
        return Reply(401, b'{"detail": "no"}', {"Content-Type": "application/problem+json"})

    data = USER_DATA | {"api_url": serve(control_plane)}
    machine.azure.user_data = base64.b64encode(json.dumps(data).encode()).decode()
    result = machine.boot()
    assert result.returncode == 3, result.stderr
    asked = {each.path.partition("?")[0] for each in seen}  # side by side: the first refusal ends both
    assert "/api/worker/session" in asked <= {"/api/worker/session", "/api/worker/items"}
    assert seen[0].headers["authorization"] == "Bearer secret-token"
    unit = (ROOT / "infra" / "image" / "files" / "nightshift-worker.service").read_text()
    assert "RestartPreventExitStatus=3" in unit
