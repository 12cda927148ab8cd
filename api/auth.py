"""Who is asking, and may they? Decided here alone; each route declares what it needs as a dependency.

People sign in at App Service authentication, which passes them on in a header; programs come with an API key or an
access token of Entra, workers with their token. In local mode (one machine, loopback) the user's own programs need no
credential; what an agent runs in its sandbox gets nothing without one. Where the browser vouches for its user by
itself, no web page of somebody else may change anything.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from api.dependencies import ServicesDep
from api.rates import FAILURES, READS, WRITES, address_of, rates_of
from nightshift import tokens
from nightshift.entra import Account, signed_in
from nightshift.errors import Forbidden, Unauthorized
from nightshift.keys import PREFIX, Scope, verify_key
from nightshift.log import no_session
from nightshift.models import Session
from nightshift.services import Services
from nightshift.tokens import WorkerIdentity

_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_SAFE = {"GET", "HEAD", "OPTIONS"}

PRINCIPAL = "X-MS-CLIENT-PRINCIPAL"
"""What App Service authentication writes, together with others whose names begin so."""

CALLER = "X-Caller-Namespace"
"""What the embedded host writes, and takes from what clients send, where the caller is not known to be a program of the
user's own: it is in a sandbox or a container, or somebody else's."""

# These only describe the schemes in openapi.json; the header itself is read below, where every form is judged.
_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="An API key, ns_<id>_<secret>, or an access token of Entra"
)
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="ApiKeyHeader")
_worker = HTTPBearer(auto_error=False, scheme_name="WorkerToken", description="Names one session and generation")


class SignInNeeded(Unauthorized):
    """Nobody is signed in, and a browser could change that."""


class Via(StrEnum):
    """How somebody came in."""

    LOCAL = "local"
    SIGN_IN = "sign_in"
    TOKEN = "token"  # noqa: S105 - no secret
    KEY = "key"


@dataclass(frozen=True)
class Principal:
    """Who asks. `admin` implies every scope and opens everybody's sessions. `name` is only for people to read."""

    subject: str
    name: str
    scopes: frozenset[Scope]
    via: Via
    key_id: str = ""
    """Which API key, if it is one."""

    @property
    def counted_as(self) -> str:
        """Whose requests are counted together (api/rates.py): a program with a key does not use up its owner's."""
        return self.key_id or self.subject

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    @property
    def sees(self) -> str | None:
        """Whose things are listed; None: everybody's."""
        return None if self.is_admin else self.subject

    def may(self, scope: Scope) -> bool:
        return self.is_admin or scope in self.scopes

    def owns(self, session: Session) -> bool:
        return self.is_admin or session.owner == self.subject


LOCAL = Principal("local", "local", frozenset({Scope.ADMIN}), Via.LOCAL)


async def identify(request: Request, services: Services) -> Principal:
    """Raises Unauthorized. A credential that is there must be right: nothing else excuses a wrong one."""
    settings = services.settings
    if not settings.sign_in:
        _must_not_claim_a_sign_in(request)
    credential = request.headers.get("X-API-Key") or _bearer_of(request)
    if credential is not None:
        return await _program(request, services, credential)
    if settings.sign_in and settings.entra:
        passed_on = request.headers.getlist(PRINCIPAL)
        if not passed_on:
            raise SignInNeeded(
                "Sign in (a page does it when it is loaded anew), or send an API key as 'X-API-Key'", "sign-in-needed"
            )
        _must_be_same_site(request, {f"https://{_host(request)}", _origin(settings.public_url)})
        return _principal(signed_in(settings.entra, ",".join(passed_on)), Via.SIGN_IN)
    if not settings.local:
        raise Unauthorized("Send an API key as 'Authorization: Bearer ns_...' or 'X-API-Key: ns_...'", "key-needed")
    _must_be_local(request)
    return LOCAL


async def _program(request: Request, services: Services, credential: str) -> Principal:
    """Raises TooManyRequests, without a look at the credential, for an address that had too many wrong ones."""
    rates, address = rates_of(request), address_of(request)
    rates.take(FAILURES, address, 0)
    try:
        return await _known(services, credential)
    except Unauthorized:
        rates.take(FAILURES, address)
        raise


async def _known(services: Services, credential: str) -> Principal:
    if services.access_tokens is None or credential.startswith(PREFIX):
        key = await verify_key(services.store, credential)
        return Principal(key.owner, key.owner_name or key.owner, key.scopes, Via.KEY, key.id)
    return _principal(await services.access_tokens.verify(credential), Via.TOKEN)


def _principal(account: Account, via: Via) -> Principal:
    return Principal(account.subject, account.name, account.scopes, via)


async def own_session(services: Services, principal: Principal, session_id: str) -> Session:
    """Raises NotFound, in the same words for a session that is not there and one that is somebody else's."""
    session = await services.log.session(session_id)
    if not principal.owns(session):
        raise no_session(session_id)
    return session


def needs(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    async def check(request: Request, services: ServicesDep) -> Principal:
        principal = await identify(request, services)
        rates_of(request).take(WRITES if scope is Scope.WRITE else READS, principal.counted_as)
        if not principal.may(scope):
            raise Forbidden(
                f"This needs the scope '{scope}', which your key, token or role does not have",
                "scope-needed",
                scope=scope,
            )
        return principal

    return check


async def _worker_identity(request: Request, services: ServicesDep) -> WorkerIdentity:
    """Raises Unauthorized, NotFound if the session is gone, StaleGeneration if this worker was replaced."""
    _must_not_claim_a_sign_in(request)  # not even App Service has one for a worker
    token = _bearer_of(request)
    if token is None:
        raise Unauthorized("Send the worker token as 'Authorization: Bearer ...'")
    identity = tokens.verify(services.settings.signing_key, token)
    await services.log.check_generation(identity.session_id, identity.generation)
    return identity


type Reader = Annotated[Principal, Depends(needs(Scope.READ))]
type Writer = Annotated[Principal, Depends(needs(Scope.WRITE))]
type Admin = Annotated[Principal, Depends(needs(Scope.ADMIN))]
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


def _must_not_claim_a_sign_in(request: Request) -> None:
    """Whoever reaches an app without App Service before it could be anybody by writing such a header."""
    if any(name.startswith(PRINCIPAL.lower()) for name in request.headers):
        raise Unauthorized(f"Nothing here signs anybody in before this app: send no {PRINCIPAL} header")


def _must_be_local(request: Request) -> None:
    """Against an agent that would say yes to itself; and against a foreign page in the user's browser: by a name that
    it points here (DNS rebinding), or across sites."""
    if CALLER in request.headers:
        raise Forbidden(
            "Without an API key only programs of the user who runs Nightshift are answered, and none in a sandbox or "
            "container (an SSH tunnel is another user's, too): send a key as 'X-API-Key: ns_...'"
        )
    host = _host(request)
    if not _LOOPBACK.fullmatch(host):
        raise Unauthorized("Without an API key only localhost, 127.0.0.1 or [::1] is answered", "only-localhost")
    _must_be_same_site(request, {f"http://{host}", f"https://{host}"})


def _must_be_same_site(request: Request, origins: set[str]) -> None:
    if request.method in _SAFE:
        return
    origin = request.headers.get("Origin")
    same_origin = origin is None or origin.lower() in origins
    if not same_origin or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Unauthorized("Without an API key no other site may change anything here", "other-site")


def _host(request: Request) -> str:
    return request.headers.get("Host", "").lower()


def _origin(url: str) -> str:
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}"
