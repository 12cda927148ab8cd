"""Each adapter on a place of its own, empty: what the contract suites run over."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from azure.storage.blob.aio import BlobServiceClient

from nightshift.blobs.files import FileBlobs
from nightshift.blobs.storage import StorageBlobs
from nightshift.ports import Blobs, Store
from nightshift.store.cosmos import CONTAINER, CosmosStore
from nightshift.store.longtexts import LongTexts
from nightshift.store.sqlite import SqliteStore
from tests.nightshift.emulators.servers import Identity

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


async def make_database(url: str) -> str:
    """What infra/ makes in Azure: a database with the one container, which indexes what queries use."""
    name = f"test-{uuid4().hex}"
    paths = [{"path": f"/{field}/?"} for field in ("pk", "key", "listed", "owned")]
    container = {
        "id": CONTAINER,
        "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
        "indexingPolicy": {"indexingMode": "consistent", "includedPaths": paths, "excludedPaths": [{"path": "/*"}]},
    }
    async with httpx.AsyncClient(base_url=url, verify=False) as http:
        (await http.post("/dbs", json={"id": name})).raise_for_status()
        (await http.post(f"/dbs/{name}/colls", json=container)).raise_for_status()
    return name


async def make_container(account_url: str) -> str:
    """Its URL."""
    name = f"test-{uuid4().hex}"
    service: Any = BlobServiceClient(account_url, Identity())
    async with service:
        await service.create_container(name)
    return f"{account_url}/{name}"
