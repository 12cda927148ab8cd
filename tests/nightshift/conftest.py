from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nightshift.testing.emulators import servers


@pytest.fixture(scope="session")
def modules() -> Path:
    """The emulators' npm packages, installed on first use."""
    found = servers.installed()
    if found is None:
        pytest.skip("node and npm are not on PATH: Cosmos DB and Azure Storage have no stand-in here")
    return found


@pytest.fixture(scope="session")
def cosmos_url(modules: Path) -> Iterator[str]:
    with servers.cosmos(modules) as url:
        yield url


@pytest.fixture(scope="session")
def azurite_account(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(URL, certificate)"""
    with servers.azurite(modules, tmp_path_factory.mktemp("azurite")) as account:
        yield account
