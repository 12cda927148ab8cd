"""Each adapter on a place of its own, empty: what the contract suites run over."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from nightshift.blobs.files import FileBlobs
from nightshift.blobs.storage import StorageBlobs
from nightshift.ports import Blobs, Store
from nightshift.store.cosmos import CosmosStore
from nightshift.store.longtexts import LongTexts
from nightshift.store.sqlite import SqliteStore
from nightshift.testing.emulators.deployed import make_container, make_database
from nightshift.testing.emulators.identity import Identity

STORES = ["sqlite", "cosmos", "sqlite and files", "cosmos and azurite"]
"""The last two keep long texts in blobs."""
BLOBS = ["files", "azurite"]


@asynccontextmanager
async def fresh_store(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncGenerator[Store]:
    base, _, blobs_kind = kind.partition(" and ")
    async with AsyncExitStack() as stack:
        if base == "sqlite":
            store: Store = SqliteStore(folder / "store.db")
        else:
            url: str = request.getfixturevalue("cosmos_url")
            store = CosmosStore(url, Identity(), await make_database(url))
        stack.push_async_callback(store.close)
        if blobs_kind:
            blobs = await stack.enter_async_context(fresh_blobs(blobs_kind, request, folder))
            store = LongTexts(store, blobs)
        yield store


@asynccontextmanager
async def fresh_blobs(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncGenerator[Blobs]:
    if kind == "files":
        blobs: Blobs = FileBlobs(folder / "blobs")
    else:
        account: tuple[str, Path] = request.getfixturevalue("azurite_account")
        blobs = StorageBlobs(await make_container(account[0]), Identity())
    try:
        yield blobs
    finally:
        await blobs.close()
