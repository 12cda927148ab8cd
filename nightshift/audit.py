"""Who did what, written at the door before it is done. Nothing here is ever changed or deleted."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from nightshift.errors import Conflict
from nightshift.models import Model
from nightshift.ports import Store

KIND = "audit"


class AuditEntry(Model):
    at: datetime
    actor: str
    """As `Session.owner` names people and programs."""
    actor_name: str = ""
    via: str
    """How they came in: local, sign_in, token, key."""
    action: str
    """Noun and verb: `session.stop`, `key.make`."""
    target: str
    """The id of what it was done to."""
    detail: str = Field(default="", max_length=500)


async def note(store: Store, entry: AuditEntry, key: str) -> None:
    """A repeat of the same action under the same key is one entry."""
    body = entry.model_dump(mode="json") | {"kind": KIND, "created_at": entry.at.isoformat(), "owner": entry.actor}
    try:
        await store.create(f"audit-{entry.at:%Y-%m}", f"{entry.action}:{entry.target}:{key}", body)
    except Conflict:
        return  # this very request, sent again


async def entries(store: Store, limit: int, cursor: str | None = None) -> tuple[list[AuditEntry], str | None]:
    """Everybody's, newest first."""
    page = await store.newest(KIND, limit=limit, cursor=cursor)
    fields = AuditEntry.model_fields
    found = [{name: value for name, value in each.body.items() if name in fields} for each in page.documents]
    return [AuditEntry.model_validate(body) for body in found], page.cursor
