"""API keys: everybody makes, lists and revokes their own; admins everybody's."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api.audit import note
from api.auth import KEY_SCHEMES, Principal, Reader, Via, Writer
from api.dependencies import IdempotencyKey, ServicesDep, digest
from nightshift.errors import Conflict, Forbidden
from nightshift.keys import ApiKey, Scope, create_key, list_keys, revoke_key
from nightshift.log import utc_now
from nightshift.models import Model, new_id

router = APIRouter(prefix="/api/keys", tags=["keys"], dependencies=KEY_SCHEMES)


class NewKey(Model):
    scopes: Annotated[frozenset[Scope], Field(min_length=1)] = frozenset({Scope.READ, Scope.WRITE})
    days: Annotated[int, Field(ge=1, le=365)] = 90
    """Until it expires."""
    owner: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """For whom, if not for oneself; admins only."""


class MadeKey(Model):
    key: ApiKey
    text: str
    """The credential itself. It is kept only as a hash and cannot be had a second time."""


class Keys(Model):
    keys: list[ApiKey]


@router.post("", status_code=201, summary="Make an API key")
async def make_key(
    new: NewKey, principal: Writer, services: ServicesDep, idempotency_key: IdempotencyKey = None
) -> MadeKey:
    _must_be_allowed(new, principal)
    id = digest(principal.subject, idempotency_key)[:16] if idempotency_key else secrets.token_hex(8)
    detail = f"{' '.join(sorted(new.scopes))}, {new.days} days, for {new.owner or principal.subject}"
    await note(services, principal, "key.make", id, id, detail)
    for_oneself = new.owner in (None, principal.subject)
    try:
        key, text = await create_key(
            services.store,
            new.owner or principal.subject,
            new.scopes,
            utc_now() + timedelta(days=new.days),
            owner_name=principal.name if for_oneself else "",
            id=id,
        )
    except Conflict as error:
        raise Conflict(
            "This Idempotency-Key made a key before; if its text was lost, revoke it and make another",
            "key-used-before",
        ) from error
    return MadeKey(key=key, text=text)


@router.get("", summary="List API keys, newest first")
async def list_own_keys(principal: Reader, services: ServicesDep) -> Keys:
    return Keys(keys=await list_keys(services.store, principal.sees))


@router.delete("/{key_id}", status_code=204, summary="Revoke an API key at once")
async def revoke_own_key(key_id: str, principal: Writer, services: ServicesDep) -> None:
    await note(services, principal, "key.revoke", key_id, new_id())
    await revoke_key(services.store, key_id, principal.sees)


def _must_be_allowed(new: NewKey, principal: Principal) -> None:
    if principal.is_admin:
        return
    if principal.via is Via.KEY:
        # Whoever found a key would otherwise be in for good: with one key after the other, past every expiry.
        raise Forbidden("A key makes no keys: sign in for that, or ask an administrator", "key-makes-no-keys")
    if new.owner not in (None, principal.subject):
        raise Forbidden("Only an administrator makes keys for others", "keys-for-others")
    beyond = sorted(scope for scope in new.scopes if not principal.may(scope))
    if beyond:
        names = ", ".join(beyond)
        raise Forbidden(
            f"You cannot give a key more than you may yourself: {names}", "beyond-your-scopes", scopes=names
        )
