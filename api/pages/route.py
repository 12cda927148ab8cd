"""What is the same for every page: headers, and how a browser is told what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from api.auth import SignInNeeded
from api.problems import wants_page
from nightshift.errors import TooManyRequests, Unprocessable, UserError
from nightshift.words import told

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self' ws: wss:; "
        "manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class PageRoute(APIRoute):
    """Tells a browser what was wrong on a page; everybody else, the pages' own JavaScript included, as a problem."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_for_people(request: Request) -> Response:
            try:
                return await handle(request)
            except (UserError, RequestValidationError) as error:
                if not wants_page(request):
                    raise
                if isinstance(error, SignInNeeded):
                    return _sign_in(request)
                if isinstance(error, RequestValidationError):
                    error = Unprocessable("Something in this address is not as it should be", "bad-address")
                return error_page(request, error)

        return handle_for_people


def _sign_in(request: Request) -> RedirectResponse:
    """To App Service authentication, and back here afterwards."""
    here = quote(request.scope["path"]) + (f"?{request.url.query}" if request.url.query else "")
    where = f"/.auth/login/aad?post_login_redirect_uri={quote(here, safe='')}"
    return RedirectResponse(where, status_code=302, headers=HEADERS)


def error_page(request: Request, error: UserError) -> HTMLResponse:
    """The page for somebody who went astray."""
    from api.pages.templates import look_of, render  # the static files are a page route, and templates name them

    look = look_of(request)
    page = render(look, "error.html", status_code=error.status, title=error.title, detail=told(look.language, error))
    again = {"Retry-After": str(error.retry_after)} if isinstance(error, TooManyRequests) else {}
    return HTMLResponse(page, error.status, headers=HEADERS | again)
