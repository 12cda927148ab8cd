"""Which adapters the settings choose."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from nightshift.errors import Permanent
from nightshift.live import NoLive, PubSubLive
from nightshift.machines.azure import AzureMachines
from nightshift.machines.containers import ContainerMachines
from nightshift.machines.local import LocalMachines
from nightshift.services import build
from nightshift.settings import CloudStorage, Settings
from nightshift.store.longtexts import LongTexts
from nightshift.store.sqlite import SqliteStore

BASE = {"NIGHTSHIFT_SIGNING_KEY": "k" * 64}
COSMOS = {"NIGHTSHIFT_COSMOS_ENDPOINT": "https://a.documents.azure.com:443/"}
GROUP = "/subscriptions/5b1f2c3d-0000-4000-8000-123456789abc/resourceGroups/machines"
MACHINES = {
    "NIGHTSHIFT_VM_LOCATION": "japaneast",
    **{f"NIGHTSHIFT_VM_{name}": GROUP for name in ("RESOURCE_GROUP", "SUBNET", "IMAGE", "IDENTITY")},
}
BLOBS = {"NIGHTSHIFT_BLOBS_URL": "https://a.blob.core.windows.net/nightshift"}


async def test_without_settings_it_is_this_machine(tmp_path: Path) -> None:
    settings = Settings.read(BASE | {"NIGHTSHIFT_DATA_DIR": str(tmp_path)})
    assert settings.storage is None
    services = build(settings)
    assert isinstance(services.store, SqliteStore)
    assert isinstance(services.machines, LocalMachines)
    assert isinstance(services.live, NoLive)
    assert services.identity is None
    await services.close()


async def test_with_all_of_them_it_is_azure() -> None:
    environment = COSMOS | BLOBS | MACHINES | {"NIGHTSHIFT_PUBSUB_ENDPOINT": "https://a.webpubsub.azure.com/"}
    services = build(Settings.read(BASE | environment))
    assert isinstance(services.machines, AzureMachines)
    assert isinstance(services.live, PubSubLive)
    assert services.identity is not None
    await services.close()  # though nothing was ever asked of it


async def test_machines_are_containers_or_virtual_never_both(tmp_path: Path) -> None:
    pool = {"NIGHTSHIFT_CONTAINER_POOL": "https://pool.env.japaneast.azurecontainerapps.io/"}
    services = build(Settings.read(BASE | pool | {"NIGHTSHIFT_DATA_DIR": str(tmp_path)}))
    assert isinstance(services.machines, ContainerMachines)
    await services.close()
    with pytest.raises(Permanent, match="both set"):
        Settings.read(BASE | pool | MACHINES)


async def test_one_client_that_cannot_be_closed_leaves_no_other_open(tmp_path: Path) -> None:
    class Stuck(NoLive):
        async def close(self) -> None:
            raise OSError("the connection is gone")

    services = replace(build(Settings.read(BASE | {"NIGHTSHIFT_DATA_DIR": str(tmp_path)})), live=Stuck())
    with pytest.raises(OSError, match="gone"):
        await services.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        await services.store.read("a", "b")


def test_tokens_of_the_identity_go_over_https_only() -> None:
    with pytest.raises(Permanent, match="NIGHTSHIFT_PUBSUB_ENDPOINT"):
        Settings.read(BASE | {"NIGHTSHIFT_PUBSUB_ENDPOINT": "http://a.webpubsub.azure.com"})


async def test_with_both_it_is_azure_s_storage() -> None:
    settings = Settings.read(BASE | COSMOS | BLOBS | {"NIGHTSHIFT_COSMOS_DATABASE": "other"})
    where = CloudStorage(
        "https://a.documents.azure.com:443", "https://a.blob.core.windows.net/nightshift", cosmos_database="other"
    )
    assert settings.storage == where
    services = build(settings)
    assert isinstance(services.store, LongTexts)
    await services.close()


@pytest.mark.parametrize(
    "wrong",
    [
        COSMOS,
        BLOBS,
        COSMOS | {"NIGHTSHIFT_BLOBS_URL": "https://a.blob.core.windows.net"},
        BLOBS | {"NIGHTSHIFT_COSMOS_ENDPOINT": "http://a.documents.azure.com"},
    ],
)
def test_half_of_it_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(Permanent, match="NIGHTSHIFT_COSMOS_ENDPOINT and NIGHTSHIFT_BLOBS_URL"):
        Settings.read(BASE | wrong)
