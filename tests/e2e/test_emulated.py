"""The demo as in Azure: the same job on Cosmos DB, Blob Storage, the resource manager and managed identities."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from nightshift.keys import KIND
from nightshift.store.cosmos import CosmosStore
from nightshift.testing.emulators import servers
from nightshift.testing.emulators.deployed import make_database
from nightshift.testing.emulators.identity import Identity, managed_identity

ROOT = Path(__file__).parents[2]
PATIENCE = 240


@pytest.fixture
def modules() -> Path:
    found = servers.installed()
    if found is None:
        pytest.skip("node and npm are not on PATH: Cosmos DB and Azure Storage have no stand-in here")
    return found


async def run(*arguments: str, **environment: str) -> tuple[int | None, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "OPENAI_", "NIGHT"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", *arguments),
        cwd=ROOT,
        env=clean | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode, said.decode()


@pytest.mark.usefixtures("modules")
async def test_the_whole_job_as_in_azure_and_nothing_left_behind(tmp_path: Path) -> None:
    code, said = await run("demo", AZURE="emulated", TMPDIR=str(tmp_path))
    assert code == 0, said
    assert "requests to the resource manager, all valid" in said
    assert [process.cmdline() for process in psutil.process_iter() if _belongs(process, tmp_path)] == []
    assert list(tmp_path.iterdir()) == []


async def test_keys_are_made_where_the_settings_say_the_store_is(modules: Path, tmp_path: Path) -> None:
    with servers.cosmos(modules) as url:
        database = await make_database(url)
        where = {
            "NIGHTSHIFT_COSMOS_ENDPOINT": url,
            "NIGHTSHIFT_COSMOS_DATABASE": database,
            "NIGHTSHIFT_BLOBS_URL": "https://127.0.0.1/not-asked-for-keys",
            "NIGHTSHIFT_DATA_DIR": str(tmp_path / "var"),
        }
        async with managed_identity() as identity:
            code, said = await run("cli", "keys", "create", "--owner", "ann", **where, **identity)
            assert code == 0, said
            assert said.startswith("ns_")
            _, listed = await run("cli", "keys", "list", **where, **identity)
            assert "ann  read,write" in listed
        store = CosmosStore(url, Identity(), database)
        found = await store.newest(KIND)
        await store.close()
        assert len(found.documents) == 1
    assert not (tmp_path / "var").exists()


async def test_an_azure_that_there_is_not_is_told() -> None:
    code, said = await run("demo", AZURE="westeurope")
    assert code == 1
    assert "say AZURE=emulated" in said


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("TMPDIR") == str(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
