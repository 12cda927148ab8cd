"""Installs and starts the servers that stand in for Cosmos DB and Azure Storage, on loopback and free ports."""

from __future__ import annotations

import fcntl
import ipaddress
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp.connector
import jwt
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
    # Made when aiohttp was imported. A context of one's own has azure-core connect anew for every request.
    trusted: ssl.SSLContext = vars(aiohttp.connector)["_SSL_CONTEXT_VERIFIED"]
    trusted.load_verify_locations(certificate)
    options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--oauth", "basic"]
    options += ["--blobPort", "0", "--cert", certificate, "--key", key]
    with _running(modules / "azurite/dist/src/blob/main.js", *options) as url:
        yield f"{url}/devstoreaccount1", certificate


class Identity:
    """A managed identity's credential, as the SDKs ask for it: signs its own tokens, which no emulator checks."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        now = int(time.time())
        claims = {
            "aud": scopes[0].removesuffix("/.default"),
            "iss": "https://sts.windows.net/11111111-1111-1111-1111-111111111111/",
            "tid": "11111111-1111-1111-1111-111111111111",
            "oid": "22222222-2222-2222-2222-222222222222",
            "iat": now,
            "nbf": now - 60,
            "exp": now + 3600,
        }
        return AccessToken(jwt.encode(claims, "k" * 32), now + 3600)

    async def close(self) -> None:
        return None

    async def __aenter__(self) -> Identity:
        return self

    async def __aexit__(self, exc_type: Any = None, exc_value: Any = None, traceback: Any = None) -> None:
        return None


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


def self_signed(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) for 127.0.0.1, as PEM files."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
