"""What each person keeps: preferences, templates, and how far they have read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api.auth import KEY_SCHEMES, Reader, Writer, own_session
from api.dependencies import ServicesDep
from nightshift.models import Model
from nightshift.people import Preferences, note_read, preferences, save_preferences

router = APIRouter(tags=["preferences"], dependencies=KEY_SCHEMES)


class Place(Model):
    seq: Annotated[int, Field(ge=0, lt=10**12)]
    """The newest item that was seen."""


@router.get("/api/preferences", summary="What your sessions begin with")
async def get_preferences(principal: Reader, services: ServicesDep) -> Preferences:
    return await preferences(services.store, principal.subject)


@router.put("/api/preferences", summary="Change what your sessions begin with; they are replaced as a whole")
async def put_preferences(wanted: Preferences, principal: Writer, services: ServicesDep) -> Preferences:
    await save_preferences(services.store, principal.subject, wanted)
    return wanted


@router.put("/api/sessions/{session_id}/read", status_code=204, summary="Note how far you have read")
async def put_place(session_id: str, place: Place, principal: Reader, services: ServicesDep) -> None:
    await own_session(services, principal, session_id)
    await note_read(services.store, principal.subject, session_id, place.seq)
