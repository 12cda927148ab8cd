"""Is it up? Answers without credentials and without touching anything."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from nightshift import __version__
from nightshift.models import Model

router = APIRouter(prefix="/api", tags=["health"])


class Health(Model):
    status: Literal["ok"] = "ok"
    version: str = __version__


@router.get("/health", summary="Whether the app answers")
async def get_health() -> Health:
    return Health()
