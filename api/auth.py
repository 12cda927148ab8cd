"""Who is asking, and may they? Decided here alone; each route declares what it needs as a dependency.

People and programs come with an API key, workers with their token. In local mode (one machine, loopback)
no credential is needed, as long as it is not a web page of somebody else that is asking.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from api.dependencies import ServicesDep
from nightshift import tokens
from nightshift.errors import Forbidden, NotFound, Unauthorized
from nightshift.keys import Scope, verify_key
from nightshift.models import Session
from nightshift.services import Services
from nightshift.tokens import WorkerIdentity

_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_SAFE = {"GET", "HEAD", "OPTIONS"}

# These only describe the schemes in openapi.json; the header itself is read below, where every form is judged.
_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="An API key: ns_<id>_<secret>")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="ApiKeyHeader")
_worker = HTTPBearer(auto_error=False, scheme_name="WorkerToken", description="Names one session and generation")


@dataclass(frozen=True)
class Principal:
    """Who asks. `admin` implies every scope and opens everybody's sessions."""

    subject: str
    scopes: frozenset[Scope]

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        return self.is_admin or scope in self.scopes

    def owns(self, session: Session) -> bool:
        return self.is_admin or session.owner == self.subject


LOCAL = Principal("local", frozenset({Scope.ADMIN}))


async def identify(request: Request, services: Services) -> Principal:
    """Raises Unauthorized. A credential that is there must be right: local mode does not excuse a wrong one."""
    key = request.headers.get("X-API-Key") or _bearer_of(request)
    if key is not None:
        found = await verify_key(services.store, key)
        return Principal(found.owner, found.scopes)
    if not services.settings.local:
        raise Unauthorized("Send an API key as 'Authorization: Bearer ns_...' or 'X-API-Key: ns_...'")
    _must_be_local(request)
    return LOCAL


async def own_session(services: Services, principal: Principal, session_id: str) -> Session:
    """Raises NotFound, in the same words for a session that is not there and one that is somebody else's."""
    session = await services.log.session(session_id)
    if not principal.owns(session):
        raise NotFound(f"There is no session '{session_id}'")
    return session


def needs(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    async def check(request: Request, services: ServicesDep) -> Principal:
        principal = await identify(request, services)
        if not principal.may(scope):
            raise Forbidden(f"This needs a key with the scope '{scope}'")
        return principal

    return check


async def _worker_identity(request: Request, services: ServicesDep) -> WorkerIdentity:
    """Raises Unauthorized, NotFound if the session is gone, StaleGeneration if this worker was replaced."""
    token = _bearer_of(request)
    if token is None:
        raise Unauthorized("Send the worker token as 'Authorization: Bearer ...'")
    identity = tokens.verify(services.settings.signing_key, token)
    await services.log.check_generation(identity.session_id, identity.generation)
    return identity


type Reader = Annotated[Principal, Depends(needs(Scope.READ))]
type Writer = Annotated[Principal, Depends(needs(Scope.WRITE))]
type Worker = Annotated[WorkerIdentity, Depends(_worker_identity)]
KEY_SCHEMES = [Security(_bearer), Security(_header)]
WORKER_SCHEME = [Security(_worker)]


def _bearer_of(request: Request) -> str | None:
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, credential = header.partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise Unauthorized("The Authorization header must be 'Bearer' and a key or token")
    return credential.strip()


def _must_be_local(request: Request) -> None:
    """Against a foreign page in the user's browser: by a name that it points here (DNS rebinding), or across sites."""
    host = request.headers.get("Host", "")
    if not _LOOPBACK.fullmatch(host):
        raise Unauthorized("Without an API key only localhost, 127.0.0.1 or [::1] is answered")
    if request.method in _SAFE:
        return
    origin = request.headers.get("Origin")
    same_origin = origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
    if not same_origin or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Unauthorized("Without an API key no other site may change anything here")
