"""The frame around every page: who looks, in which language, and the rail with their sessions."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse

from api.auth import Principal, Reader, Via
from api.dependencies import ServicesDep
from api.pages.route import HEADERS
from api.pages.templates import Look, look_of, render
from api.sessions import list_sessions
from api.views import SessionView
from nightshift.models import Phase
from nightshift.people import read_places
from nightshift.services import Services
from nightshift.words import Words, words

RAIL = 40
"""Sessions in the rail."""
_UNDER_WAY = {Phase.STARTING, Phase.WORKING, Phase.DELETING, Phase.DELETED}


@dataclass(frozen=True)
class Row:
    """A session in a list."""

    session: SessionView
    unread: bool


@dataclass(frozen=True)
class Frame:
    request: Request
    principal: Principal
    services: Services
    look: Look

    @property
    def t(self) -> Words:
        return words(self.look.language)

    async def page(self, template: str, **context: Any) -> HTMLResponse:
        page = render(self.look, template, rail=await self.rail(), frame=self, **context)
        return HTMLResponse(page, headers=HEADERS)

    def part(self, template: str, **context: Any) -> str:
        return render(self.look, template, **context)

    def fragment(self, template: str, **context: Any) -> Response:
        """A part of a page, for its JavaScript; nothing at all if the browser has just this one."""
        html = self.part(template, **context)
        etag = f'"{hashlib.sha256(html.encode()).hexdigest()[:20]}"'
        headers = HEADERS | {"ETag": etag, "Cache-Control": "no-cache, private"}
        if self.request.headers.get("If-None-Match") == etag:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(html, headers=headers)

    async def rail(self) -> list[Row]:
        listed, places = await asyncio.gather(list_sessions(self.principal, self.services, RAIL), self.places())
        return self.rows(listed.sessions, places)

    async def places(self) -> dict[str, int]:
        return await read_places(self.services.store, self.principal.subject)

    def rows(self, sessions: list[SessionView], places: Mapping[str, int]) -> list[Row]:
        return [Row(session, self._is_unread(session, places)) for session in sessions]

    def _is_unread(self, session: SessionView, places: Mapping[str, int]) -> bool:
        """Something was said since this person looked, and nobody is at work to say more."""
        if session.phase in _UNDER_WAY:
            return False
        mine = session.owner == self.principal.subject
        return session.item_seq > places.get(session.id, 0 if mine else session.item_seq)

    @property
    def account(self) -> str | None:
        """Whose name is shown beside a link to sign out."""
        return self.principal.name if self.principal.via is Via.SIGN_IN else None


async def _frame(request: Request, principal: Reader, services: ServicesDep) -> Frame:
    return Frame(request, principal, services, look_of(request))


type FrameDep = Annotated[Frame, Depends(_frame)]
