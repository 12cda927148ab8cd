"""The composition root: settings choose the adapters, and nobody else knows which."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nightshift.live import NoLive, PubSubLive
from nightshift.log import Log
from nightshift.machines.local import LocalMachines
from nightshift.models import ModelEndpoint
from nightshift.ports import Live, Machines, Store
from nightshift.pricing import PriceTable, load_prices
from nightshift.settings import Settings
from nightshift.store.sqlite import SqliteStore


@dataclass(frozen=True)
class Services:
    """What activities and routes work with."""

    settings: Settings
    store: Store
    log: Log
    machines: Machines
    live: Live
    prices: PriceTable


def build(settings: Settings) -> Services:
    store = SqliteStore(settings.data_dir / "nightshift.db")
    endpoint = ModelEndpoint(base_url=settings.openai_base_url, api_key=settings.openai_api_key)
    return Services(
        settings=settings,
        store=store,
        log=Log(store),
        machines=LocalMachines(settings.data_dir / "machines", endpoint),
        live=PubSubLive(settings.pubsub_connection) if settings.pubsub_connection else NoLive(),
        prices=load_prices(settings.prices),
    )


@lru_cache(maxsize=1)
def services() -> Services:
    """This process's services, built from its environment on first use."""
    return build(Settings.read())
