"""The composition root: settings choose the adapters, and nobody else knows which."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from nightshift.blobs.files import FileBlobs
from nightshift.entra import AccessTokens
from nightshift.github import AppTokens, OneToken
from nightshift.live import NoLive, PubSubLive
from nightshift.log import Log
from nightshift.machines.local import LocalMachines
from nightshift.ports import Blobs, GitHub, Live, Machines, Store
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
    blobs: Blobs
    log: Log
    machines: Machines
    live: Live
    github: GitHub
    prices: PriceTable
    access_tokens: AccessTokens | None = None
    """None: API keys only."""
    identity: AsyncTokenCredential | None = None
    """Who the app is in Azure; None where nothing of Azure is used."""

    async def close(self) -> None:
        """Every client, whatever becomes of the others; the identity last, which they ask."""
        async with AsyncExitStack() as stack:
            for client in (self.identity, self.store, self.blobs, self.machines, self.live, self.github):
                if client is not None:
                    stack.push_async_callback(client.close)


def build(settings: Settings) -> Services:
    in_azure = settings.storage or settings.machines or settings.container_pool or settings.pubsub_endpoint
    github, prices = _github(settings), load_prices(settings.prices, settings.deployments)  # may raise: nothing is open
    identity = _identity() if in_azure else None
    store, blobs = _storage(settings, identity)
    return Services(
        settings=settings,
        store=store,
        blobs=blobs,
        log=Log(store, blobs),
        machines=_machines(settings, identity),
        live=_live(settings, identity),
        github=github,
        prices=prices,
        access_tokens=AccessTokens(settings.entra) if settings.entra else None,
        identity=identity,
    )


def _github(settings: Settings) -> GitHub:
    if settings.github_app is None:
        return OneToken(settings.github_token, settings.github_api_url)
    return AppTokens(settings.github_api_url, settings.github_app)


# Azure's libraries are imported below, because on one machine nobody should wait for them.


def _identity() -> AsyncTokenCredential:
    """The app's managed identity (AZURE_CLIENT_ID says which) in Azure, a signed-in developer elsewhere."""
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()


def _storage(settings: Settings, identity: AsyncTokenCredential | None) -> tuple[Store, Blobs]:
    where = settings.storage
    if where is None or identity is None:
        return SqliteStore(settings.data_dir / "nightshift.db"), FileBlobs(settings.data_dir / "blobs")
    from nightshift.blobs.storage import StorageBlobs
    from nightshift.store.cosmos import CosmosStore
    from nightshift.store.longtexts import LongTexts

    blobs = StorageBlobs(where.blobs_url, identity)
    return LongTexts(CosmosStore(where.cosmos_endpoint, identity, where.cosmos_database), blobs), blobs


def _machines(settings: Settings, identity: AsyncTokenCredential | None) -> Machines:
    if settings.container_pool and identity is not None:
        from nightshift.machines.containers import ContainerMachines

        return ContainerMachines(settings.container_pool, identity)
    if settings.machines is None:
        return LocalMachines(settings.data_dir / "machines")
    from nightshift.machines.azure import AzureMachines, connect

    return AzureMachines(settings.machines, connect(settings.machines, identity))


def _live(settings: Settings, identity: AsyncTokenCredential | None) -> Live:
    if settings.pubsub_endpoint and identity is not None:
        return PubSubLive.by_identity(settings.pubsub_endpoint, identity)
    return PubSubLive.by_key(settings.pubsub_connection) if settings.pubsub_connection else NoLive()


@lru_cache(maxsize=1)
def services() -> Services:
    """This process's services, built from its environment on first use."""
    return build(Settings.read())
