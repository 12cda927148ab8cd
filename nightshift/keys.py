"""API keys: made once, shown once, kept only as a hash.

A secret is 32 random bytes, so a plain SHA-256 is right: slow, salted hashes protect secrets that people
choose, and nobody guesses 256 bits however fast the hash is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from nightshift.errors import NotFound, PreconditionFailed, Unauthorized
from nightshift.log import utc_now
from nightshift.models import Model
from nightshift.ports import Document, Store

PARTITION = "keys"
KIND = "api_key"
PREFIX = "ns_"
_SHAPE = re.compile(PREFIX + r"([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOTE_EVERY = timedelta(minutes=1)


class Scope(StrEnum):
    """What a key may do. `admin` implies the others and opens everybody's sessions."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class ApiKey(Model):
    """A key as its owner may see it: without the secret."""

    id: str
    owner: str = Field(min_length=1, max_length=200)
    owner_name: str = ""
    """For people to read, where `owner` is an id."""
    scopes: frozenset[Scope] = Field(min_length=1)
    created_at: datetime
    expires_at: datetime | None = None
    last_used: datetime | None = None
    """To the minute."""


async def create_key(
    store: Store,
    owner: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None = None,
    *,
    owner_name: str = "",
    id: str | None = None,
) -> tuple[ApiKey, str]:
    """The key and its text `ns_<id>_<secret>`, which cannot be had a second time.

    With an `id` (16 hexadecimal digits) of its maker's choice it raises Conflict if there is such a key.
    """
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        id=id or secrets.token_hex(8),
        owner=owner,
        owner_name=owner_name,
        scopes=frozenset(scopes),
        created_at=utc_now(),
        expires_at=expires_at,
    )
    body = key.model_dump(mode="json") | {"kind": KIND, "secret_hash": _hash(secret)}
    await store.create(PARTITION, key.id, body)
    return key, f"{PREFIX}{key.id}_{secret}"


async def list_keys(store: Store, owner: str | None = None) -> list[ApiKey]:
    """Newest first, expired ones included; everybody's, or one owner's."""
    found: list[ApiKey] = []
    cursor: str | None = None
    while True:
        page = await store.newest(KIND, owner=owner, limit=100, cursor=cursor)
        found += [_key(document) for document in page.documents]
        cursor = page.cursor
        if cursor is None:
            return found


async def revoke_key(store: Store, key_id: str, owner: str | None = None) -> None:
    """From now on the key opens nothing. Raises NotFound, also for a key of somebody else than `owner`."""
    document = await store.read(PARTITION, key_id)
    if document is None or owner not in (None, document.body["owner"]):
        raise NotFound(f"There is no API key '{key_id}'", "no-key")
    await store.delete(PARTITION, key_id)


async def verify_key(store: Store, text: str) -> ApiKey:
    """Raises Unauthorized, in the same words whether the key is unknown, wrong, revoked or expired."""
    refusal = Unauthorized("The API key is not valid, or it has expired; ask an administrator for a new one", "bad-key")
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise refusal
    key_id, secret = shape.groups()
    document = await store.read(PARTITION, key_id)
    if document is None or not hmac.compare_digest(str(document.body["secret_hash"]), _hash(secret)):
        raise refusal
    key, now = _key(document), utc_now()
    if key.expires_at is not None and key.expires_at <= now:
        raise refusal
    if key.last_used is None or now - key.last_used >= _NOTE_EVERY:
        await _note_use(store, document, now)
    return key


async def _note_use(store: Store, document: Document, now: datetime) -> None:
    try:
        await store.replace(document, document.body | {"last_used": now.isoformat()})
    except PreconditionFailed:
        # Another request noted its use this very moment, or the key was just revoked: either way ours adds nothing.
        return


def _key(document: Document) -> ApiKey:
    return ApiKey.model_validate({name: document.body[name] for name in ApiKey.model_fields if name in document.body})


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
