"""Installs and starts the servers that stand in for Cosmos DB and Azure Storage, on loopback and free ports."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from nightshift.testing.emulators.identity import self_signed, trust
from nightshift.testing.installing import PLACE, has_node, npm, running

HERE = Path(__file__).parent
INSTALLED = PLACE / "emulators"


def installed() -> Path | None:
    """Where the npm packages are, after installing them on first use; None where there is no node."""
    return npm(INSTALLED, HERE / "package.json") if has_node() else None


@contextmanager
def cosmos(modules: Path) -> Generator[str]:
    """The URL of a Cosmos DB account. It takes any token, and the SDK verifies no certificate on loopback."""
    with running(["node", HERE / "cosmos.js", modules]) as url:
        yield url


@contextmanager
def azurite(modules: Path, folder: Path) -> Generator[tuple[str, Path]]:
    """The URL of a blob service's account, and its certificate. It wants tokens of `Identity`.

    From now on this process trusts the certificate. Another one does with SSL_CERT_FILE in its environment.
    """
    certificate, key = self_signed(folder)
    trust(certificate)
    options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--oauth", "basic"]
    options += ["--blobPort", "0", "--cert", str(certificate), "--key", str(key)]
    with running(["node", modules / "azurite/dist/src/blob/main.js", *options]) as url:
        yield f"{url}/devstoreaccount1", certificate
