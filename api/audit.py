"""The audit log: routes that change something note it here; admins read it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import KEY_SCHEMES, Admin, Principal
from api.dependencies import ServicesDep
from nightshift import audit
from nightshift.audit import AuditEntry
from nightshift.log import utc_now
from nightshift.models import Model
from nightshift.services import Services

router = APIRouter(prefix="/api/audit", tags=["audit"], dependencies=KEY_SCHEMES)


class AuditPage(Model):
    entries: list[AuditEntry]
    next_cursor: str | None
    """None at the end."""


@router.get("", summary="Who did what, newest first; admins only")
async def list_audit_entries(
    principal: Admin,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> AuditPage:
    found, next_cursor = await audit.entries(services.store, limit, cursor)
    return AuditPage(entries=found, next_cursor=next_cursor)


async def note(services: Services, principal: Principal, action: str, target: str, key: str, detail: str = "") -> None:
    """Before the thing itself: what was done is always in the log, and at worst something that was only tried."""
    entry = AuditEntry(
        at=utc_now(),
        actor=principal.subject,
        actor_name=principal.name,
        via=principal.via,
        action=action,
        target=target,
        detail=detail[:500],
    )
    await audit.note(services.store, entry, key)
