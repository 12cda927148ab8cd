"""The web pages: rendered here, kept fresh by a little JavaScript that fetches fragments from the same templates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.auth import Principal, Reader, SignInNeeded, Via, own_session
from api.dependencies import After
from api.problems import wants_page
from api.sessions import list_sessions
from api.views import view
from nightshift import rendering
from nightshift.errors import NotFound, UserError
from nightshift.log import Log
from nightshift.models import Item, ItemKind, Phase, UsageTotal
from nightshift.services import Services

WEB = Path(__file__).parents[1] / "web"
SESSIONS = 30
"""Rows of the list's page."""
ITEMS = 200
"""Items of one fragment."""
LOOK_BACK = 5
"""Fragments' worth of items that are searched for the call of an output."""
NEWEST = 10**12 - 1
"""Above every seq; see `nightshift.log.entry_id`."""
ACTIONS = {
    "interrupt": {Phase.WORKING},
    "stop": {Phase.STARTING, Phase.WORKING, Phase.WAITING},
    "resume": {Phase.STOPPED, Phase.FAILED},
    "delete": set(Phase) - {Phase.DELETING, Phase.DELETED},
}
"""In which phases a button is offered. The API decides; this only keeps useless buttons away."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


type Before = Annotated[int | None, Query(ge=1, lt=10**12, description="Only what has a smaller seq.")]


class PageRoute(APIRoute):
    """Tells a browser what was wrong on a page; everybody else, the pages' own JavaScript included, as a problem."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_for_people(request: Request) -> Response:
            try:
                return await handle(request)
            except UserError as error:
                if not wants_page(request):
                    raise
                return _sign_in(request) if isinstance(error, SignInNeeded) else error_page(error)

        return handle_for_people


def pages_router(services: Callable[[], Services]) -> APIRouter:
    """The pages and their static files."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/")
    async def show_sessions(  # pyright: ignore[reportUnusedFunction]
        principal: Reader, cursor: Annotated[str | None, Query(max_length=1000)] = None, fragment: bool = False
    ) -> Response:
        here = services()
        page = await list_sessions(principal, here, SESSIONS, cursor)
        if fragment:
            return _html("_sessions.html", sessions=page.sessions)
        return _html(
            "sessions.html",
            sessions=page.sessions,
            cursor=cursor,
            older=page.next_cursor,
            models=sorted(here.prices.models),
            model=here.settings.model,
            account=_account(principal),
        )

    @router.get("/sessions/{session_id}")
    async def show_session(session_id: str, principal: Reader) -> Response:  # pyright: ignore[reportUnusedFunction]
        here = services()
        session = view(await own_session(here, principal, session_id), here.settings.model)
        newest = await _before(here.log, session_id, NEWEST)
        return _html("session.html", session=session, newest=newest, actions=ACTIONS)

    @router.get("/sessions/{session_id}/fragment")
    async def show_fragment(  # pyright: ignore[reportUnusedFunction]
        session_id: str, principal: Reader, after: After = 0, before: Before = None
    ) -> Response:
        here = services()
        session = view(await own_session(here, principal, session_id), here.settings.model)
        log = here.log
        part = await (_after(log, session_id, after) if before is None else _before(log, session_id, before))
        return JSONResponse(
            {
                "html": _render("_items.html", rows=part.rows),
                "first_seq": part.first_seq,
                "last_seq": part.last_seq,
                "more": part.more,
                "header_html": _render("_header.html", session=session),
                "title": session.title,
                "phase": session.phase,
            },
            headers=HEADERS,
        )

    @router.get("/static/{name}")
    async def send_asset(  # pyright: ignore[reportUnusedFunction]
        name: str, request: Request, v: str = ""
    ) -> Response:
        asset = assets().get(name)
        if asset is None:
            raise NotFound(f"There is no file '{name}'")
        headers = {
            "ETag": f'"{asset.version}"',
            "Cache-Control": "public, max-age=31536000, immutable" if v == asset.version else "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.type, headers=headers)

    return router


def _account(principal: Principal) -> str | None:
    """Whose name is shown beside a link to sign out."""
    return principal.name if principal.via is Via.SIGN_IN else None


def _sign_in(request: Request) -> RedirectResponse:
    """To App Service authentication, and back here afterwards."""
    here = quote(request.scope["path"]) + (f"?{request.url.query}" if request.url.query else "")
    where = f"/.auth/login/aad?post_login_redirect_uri={quote(here, safe='')}"
    return RedirectResponse(where, status_code=302, headers=HEADERS)


def error_page(error: UserError) -> HTMLResponse:
    """The page for somebody who went astray."""
    return _html("error.html", error.status, status_code=error.status, title=error.title, detail=str(error))


# --- which items ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Rows of one fragment. `more`: there are further items in the direction that was asked for."""

    rows: list[rendering.Row]
    first_seq: int
    last_seq: int
    more: bool


async def _after(log: Log, session_id: str, after: int) -> Part:
    items = await log.items(session_id, after, ITEMS)
    return await _part(log, session_id, items, after, len(items) == ITEMS)


async def _before(log: Log, session_id: str, before: int) -> Part:
    items = await log.items_before(session_id, before, ITEMS)
    return await _part(log, session_id, items, 0, bool(items) and items[0].seq > 1)


async def _part(log: Log, session_id: str, items: list[Item], position: int, more: bool) -> Part:
    """The items, and before them the calls that their outputs belong to: a call is shown anew with its output."""
    first, last = (items[0].seq, items[-1].seq) if items else (position, position)
    calls = await _calls(log, session_id, _orphans(items), first)
    return Part(rendering.rows([*calls, *items]), first, last, more)


def _orphans(items: Iterable[Item]) -> set[str]:
    """Ids of the calls whose output is among the items, but not they themselves."""
    known, orphans = set[str | None](), set[str]()
    for item in items:
        if item.kind is ItemKind.TOOL_CALL:
            known.add(item.call_id)
        elif item.kind is ItemKind.TOOL_OUTPUT and item.call_id and item.call_id not in known:
            orphans.add(item.call_id)
    return orphans


async def _calls(log: Log, session_id: str, wanted: set[str], before: int) -> list[Item]:
    """The newest call of each wanted id before this seq, in order of seq."""
    found: dict[str, Item] = {}
    for _ in range(LOOK_BACK):
        if before <= 1 or len(found) == len(wanted):
            break
        page = await log.items_before(session_id, before, ITEMS)
        for item in reversed(page):
            if item.kind is ItemKind.TOOL_CALL and item.call_id in wanted:
                found.setdefault(item.call_id, item)
        before = page[0].seq if page else 0
    return sorted(found.values(), key=lambda call: call.seq)


# --- templates and static files ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asset:
    content: bytes
    type: str
    version: str


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """All static files by name, read once: a request's path never gets near the file system."""
    return {
        path.name: Asset(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:12])
        for path in (WEB / "static").iterdir()
        if path.suffix in _TYPES
        for content in [path.read_bytes()]
    }


def static(name: str) -> str:
    """Its URL with the version of its content, so that it may be cached for ever."""
    return f"/static/{name}?v={assets()[name].version}"


def cost(usage: UsageTotal) -> str:
    """Never 0 for what has no price."""
    if usage.cost_usd is None:
        return "unpriced"
    return "<$0.01" if 0 < usage.cost_usd < 0.01 else f"${usage.cost_usd:,.2f}"


def short(count: int) -> str:
    """1234567 -> 1.2M"""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + unit
    return str(count)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "markdown": rendering.markdown,
        "preformatted": rendering.preformatted,
        "web_url": rendering.web_url,
        "cost": cost,
        "short": short,
    }
    functions: dict[str, Any] = {"static": static}
    environment.filters.update(filters)
    environment.globals.update(functions)
    return environment


def _render(template: str, **context: Any) -> Markup:
    return Markup(_environment().get_template(template).render(context))  # noqa: S704 - the templates escape


def _html(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    return HTMLResponse(_render(template, **context), status, headers=HEADERS)
