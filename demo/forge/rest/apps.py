"""GitHub Apps: who asks says so by a JWT of the App, not by a token, and gets tokens for where it is installed."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo.forge.errors import ApiError, not_found
from demo.forge.records import Installation, Token, now
from demo.forge.shapes import repositories as shapes
from demo.forge.shapes.links import Json, Links, stamp
from demo.forge.state import State

PERMISSIONS = {"contents": "write", "pull_requests": "write", "issues": "write", "checks": "read", "metadata": "read"}
LIFETIME = timedelta(hours=1)
BOT = "nightshift[bot]"
_LEVELS = ["read", "write", "admin"]


def add(state: State) -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with state.change() as records:
        id = str(records.new_id())
        records.apps[id] = public.decode()
    return id, key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def install(state: State, app: str, repositories: list[str], permissions: dict[str, str]) -> Installation:
    account = repositories[0].partition("/")[0]
    with state.change() as records:
        made = Installation(
            id=records.new_id(), app=app, account=account, repositories=repositories, permissions=permissions
        )
        records.installations.append(made)
    return made


def routes(state: State, links: Links) -> list[Route]:
    def route(method: str, path: str, handler: Callable[[str, Request], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await handler(_app(state, request), request)

        return Route(f"/api/v3{path}", endpoint, methods=[method])

    async def of_repository(app: str, request: Request) -> Response:
        name = f"{request.path_params['owner']}/{request.path_params['repo']}"
        for each in state.records.installations:
            if each.app == app and name.lower() in (known.lower() for known in each.repositories):
                return JSONResponse(_shape(links, each))
        raise not_found()

    async def token(app: str, request: Request) -> Response:
        for each in state.records.installations:
            if each.app == app and each.id == request.path_params["id"]:
                return JSONResponse(_token(state, links, each, await request.json()), 201)
        raise not_found()

    async def all_installations(app: str, request: Request) -> Response:
        return JSONResponse([_shape(links, each) for each in state.records.installations if each.app == app])

    return [
        route("GET", "/app/installations", all_installations),
        route("GET", "/repos/{owner}/{repo}/installation", of_repository),
        route("POST", "/app/installations/{id:int}/access_tokens", token),
    ]


def _app(state: State, request: Request) -> str:
    """The App whose assertion it is, held to GitHub's rules."""
    assertion = request.headers.get("authorization", "").partition(" ")[2]
    try:
        app = str(jwt.decode(assertion, options={"verify_signature": False})["iss"])
        claims: dict[str, Any] = jwt.decode(
            assertion, state.records.apps[app], algorithms=["RS256"], options={"require": ["iat", "exp"]}
        )
    except jwt.ExpiredSignatureError as error:
        raise ApiError(401, "'Expiration time' claim ('exp') must be a numeric value in the future") from error
    except (jwt.InvalidTokenError, KeyError) as error:
        raise ApiError(401, "A JSON web token could not be decoded") from error
    if claims["exp"] - now().timestamp() > 600:
        raise ApiError(401, "'Expiration time' claim ('exp') is too far in the future")
    return app


def _token(state: State, links: Links, it: Installation, wanted: dict[str, Any]) -> Json:
    if it.suspended:
        raise ApiError(403, "This installation has been suspended")
    names = [f"{it.account}/{name}" for name in wanted.get("repositories", [])]
    known = {name.lower(): name for name in it.repositories}
    if any(name.lower() not in known for name in names):
        raise ApiError(422, "There is at least one repository that does not exist or is not accessible", [])
    permissions: dict[str, str] = wanted.get("permissions") or it.permissions
    for name, level in permissions.items():
        if name not in it.permissions or _LEVELS.index(level) > _LEVELS.index(it.permissions[name]):
            raise ApiError(422, "The permissions requested are not granted to this installation.", [])
    repositories = [known[name.lower()] for name in names] or it.repositories
    scopes = "rw" if permissions.get("contents") == "write" else "ro"
    expires_at = now() + LIFETIME
    token = state.add_token(BOT, scopes, repositories, expires_at)
    viewer = Token(digest="", login=BOT, scopes=scopes, repositories=repositories)
    shown = [state.records.repositories[name] for name in repositories]
    return {
        "token": token,
        "expires_at": stamp(expires_at),
        "permissions": permissions,
        "repository_selection": "selected",
        "repositories": [shapes.repository(links, each, state.records, viewer, brief=True) for each in shown],
    }


def _shape(links: Links, it: Installation) -> Json:
    api = f"{links.api}/app/installations/{it.id}"
    owner = shapes.user(links, it.account)
    return {
        "id": it.id,
        "account": owner,
        "repository_selection": "selected",
        "access_tokens_url": f"{api}/access_tokens",
        "repositories_url": f"{links.api}/installation/repositories",
        "html_url": f"{links.html}/settings/installations/{it.id}",
        "app_id": int(it.app),
        "app_slug": "nightshift",
        "target_id": owner["id"],
        "target_type": "User",
        "permissions": it.permissions,
        "events": [],
        "created_at": stamp(it.created_at),
        "updated_at": stamp(it.created_at),
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_by": owner if it.suspended else None,
        "suspended_at": stamp(it.created_at) if it.suspended else None,
    }
