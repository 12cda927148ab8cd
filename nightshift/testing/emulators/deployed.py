"""What infra/ makes in Azure before the app is there, made in the emulators."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
from azure.storage.blob.aio import BlobServiceClient

from nightshift.store.cosmos import CONTAINER
from nightshift.testing.emulators.identity import Identity

INDEXED = [f"/{field}/?" for field in ("pk", "key", "listed", "owned")]
"""What infra/modules/cosmos.bicep indexes, and nothing else: tests/infra compares them."""


async def make_database(url: str) -> str:
    """What infra/ makes in Azure: a database with the one container, which indexes what queries use."""
    name = f"test-{uuid4().hex}"
    paths = [{"path": path} for path in INDEXED]
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
