"""Installs and starts the servers that stand in for Cosmos DB and Azure Storage, on loopback and free ports."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from nightshift.testing.emulators.identity import self_signed, trust

HERE = Path(__file__).parent
INSTALLED = Path(sys.prefix) / "emulators"
"""Beside the Python packages: made and removed with them, and ignored by git as they are."""


def installed() -> Path | None:
    """Where the npm packages are, after installing them on first use; None where there is no node."""
    if not shutil.which("node") or not shutil.which("npm"):
        return None
    INSTALLED.mkdir(exist_ok=True)
    wanted, marker = (HERE / "package.json").read_text(), INSTALLED / "installed.json"
    with (INSTALLED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or marker.read_text() != wanted:
            (INSTALLED / "package.json").write_text(wanted)
            options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(["npm", "install", *options], cwd=INSTALLED, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"npm install in {INSTALLED} failed:\n{done.stderr[-2000:]}")
            marker.write_text(wanted)
    return INSTALLED / "node_modules"


@contextmanager
def cosmos(modules: Path) -> Generator[str]:
    """The URL of a Cosmos DB account. It takes any token, and the SDK verifies no certificate on loopback."""
    with _running(HERE / "cosmos.js", modules) as url:
        yield url


@contextmanager
def azurite(modules: Path, folder: Path) -> Generator[tuple[str, Path]]:
    """The URL of a blob service's account, and its certificate. It wants tokens of `Identity`.

    From now on this process trusts the certificate. Another one does with SSL_CERT_FILE in its environment.
    """
    certificate, key = self_signed(folder)
    trust(certificate)
    options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--oauth", "basic"]
    options += ["--blobPort", "0", "--cert", certificate, "--key", key]
    with _running(modules / "azurite/dist/src/blob/main.js", *options) as url:
        yield f"{url}/devstoreaccount1", certificate


@contextmanager
def _running(script: Path, *arguments: Path | str) -> Generator[str]:
    """Runs the script with node; yields the URL that it says it listens on."""
    command = ["node", str(script), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        try:
            said: list[str] = []
            for line in process.stdout:
                said.append(line)
                if found := re.search(r"listens on (https://127\.0\.0\.1:\d+)", line):
                    break
            else:
                raise RuntimeError(f"{script} ended:\n{''.join(said)}")
            # What it says later must go somewhere, or it would stop at a full pipe.
            rest = threading.Thread(target=deque, args=(process.stdout, 0))
            rest.start()
            try:
                yield found[1]
            finally:
                process.terminate()
                rest.join()
        finally:
            process.terminate()
