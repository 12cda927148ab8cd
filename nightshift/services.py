"""The composition root: settings choose the adapters, and nobody else knows which."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from nightshift.blobs.files import FileBlobs
from nightshift.entra import AccessTokens
from nightshift.live import NoLive, PubSubLive
from nightshift.log import Log
from nightshift.machines.local import LocalMachines
from nightshift.ports import Blobs, Live, Machines, Store
from nightshift.pricing import PriceTable, load_prices
from nightshift.settings import Settings
from nightshift.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


@dataclass(frozen=True)
class Services:
    """What activities and routes work with."""

    settings: Settings
    store: Store
    log: Log
    machines: Machines
    live: Live
    prices: PriceTable
    access_tokens: AccessTokens | None = None
    """None: API keys only."""


def build(settings: Settings) -> Services:
    store, blobs = _storage(settings)
    return Services(
        settings=settings,
        store=store,
        log=Log(store, blobs),
        machines=LocalMachines(settings.data_dir / "machines"),
        live=PubSubLive(settings.pubsub_connection) if settings.pubsub_connection else NoLive(),
        prices=load_prices(settings.prices, settings.deployments),
        access_tokens=AccessTokens(settings.entra) if settings.entra else None,
    )


def _storage(settings: Settings) -> tuple[Store, Blobs]:
    where = settings.storage
    if where is None:
        return SqliteStore(settings.data_dir / "nightshift.db"), FileBlobs(settings.data_dir / "blobs")
    # Imported here, because on one machine nobody should wait for Azure's libraries.
    from nightshift.blobs.storage import StorageBlobs
    from nightshift.store.cosmos import CosmosStore
    from nightshift.store.longtexts import LongTexts

    blobs = StorageBlobs(where.blobs_url, _identity())
    return LongTexts(CosmosStore(where.cosmos_endpoint, _identity(), where.cosmos_database), blobs), blobs


@lru_cache(maxsize=1)
def _identity() -> AsyncTokenCredential:
    """Who the app is in Azure: its managed identity there, a signed-in developer elsewhere."""
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


@lru_cache(maxsize=1)
def services() -> Services:
    """This process's services, built from its environment on first use."""
    return build(Settings.read())
