"""API keys: hashed at rest, expiring, revocable."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from nightshift.errors import NotFound, Unauthorized
from nightshift.keys import PARTITION, Scope, create_key, list_keys, revoke_key, verify_key
from nightshift.log import utc_now
from tests.api.house import House


async def test_a_key_opens_what_it_was_made_for(house: House):
    store = house.services.store
    made, text = await create_key(store, "ann", [Scope.READ], utc_now() + timedelta(days=1))
    found = await verify_key(store, text)
    assert (found.id, found.owner, found.scopes) == (made.id, "ann", {Scope.READ})


async def test_the_secret_is_nowhere_on_disk(house: House):
    _, text = await create_key(house.services.store, "ann", [Scope.READ])
    await verify_key(house.services.store, text)
    secret = text.split("_", 2)[2]
    files: list[Path] = [path for path in house.database.parent.iterdir() if path.name.startswith("nightshift.db")]
    content = b"".join(path.read_bytes() for path in files)
    assert b'"ann"' in content
    assert secret.encode() not in content


async def test_an_expired_or_revoked_key_opens_nothing(house: House):
    store = house.services.store
    _, expired = await create_key(store, "ann", [Scope.READ], utc_now() - timedelta(seconds=1))
    key, revoked = await create_key(store, "ann", [Scope.READ])
    await verify_key(store, revoked)
    await revoke_key(store, key.id)
    for text in (expired, revoked):
        with pytest.raises(Unauthorized):
            await verify_key(store, text)
    with pytest.raises(NotFound):
        await revoke_key(store, key.id)


async def test_keys_are_listed_newest_first_without_anything_secret(house: House):
    store = house.services.store
    made = [(await create_key(store, f"owner {number}", [Scope.READ]))[0] for number in range(103)]
    assert await list_keys(store) == made[::-1]
    assert "hash" not in made[0].model_dump_json()


async def test_use_is_noted_at_most_once_a_minute_and_by_many_at_once(house: House):
    store = house.services.store
    key, text = await create_key(store, "ann", [Scope.READ])
    await asyncio.gather(*(verify_key(store, text) for _ in range(10)))
    first = await store.read(PARTITION, key.id)
    assert first is not None
    assert first.body["last_used"]
    await verify_key(store, text)
    assert await store.read(PARTITION, key.id) == first

    past = (utc_now() - timedelta(minutes=2)).isoformat()
    await store.replace(first, first.body | {"last_used": past})
    await verify_key(store, text)
    [noted] = await list_keys(store)
    assert noted.last_used is not None
    assert noted.last_used.isoformat() > past
