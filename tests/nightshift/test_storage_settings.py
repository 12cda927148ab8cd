"""Which store and blobs the settings choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.errors import Permanent
from nightshift.services import build
from nightshift.settings import CloudStorage, Settings
from nightshift.store.longtexts import LongTexts
from nightshift.store.sqlite import SqliteStore

BASE = {"NIGHTSHIFT_SIGNING_KEY": "k" * 64}
COSMOS = {"NIGHTSHIFT_COSMOS_ENDPOINT": "https://a.documents.azure.com:443/"}
BLOBS = {"NIGHTSHIFT_BLOBS_URL": "https://a.blob.core.windows.net/nightshift"}


async def test_without_settings_it_is_this_machine(tmp_path: Path) -> None:
    settings = Settings.read(BASE | {"NIGHTSHIFT_DATA_DIR": str(tmp_path)})
    assert settings.storage is None
    services = build(settings)
    assert isinstance(services.store, SqliteStore)
    await services.store.close()


async def test_with_both_it_is_azure() -> None:
    settings = Settings.read(BASE | COSMOS | BLOBS | {"NIGHTSHIFT_COSMOS_DATABASE": "other"})
    where = CloudStorage(
        "https://a.documents.azure.com:443", "https://a.blob.core.windows.net/nightshift", cosmos_database="other"
    )
    assert settings.storage == where
    services = build(settings)
    assert isinstance(services.store, LongTexts)
    await services.store.close()  # though nothing was ever asked of it


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
