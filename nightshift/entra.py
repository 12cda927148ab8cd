"""Accounts of Microsoft Entra ID: who a sign-in or an access token stands for, and what it may do here.

People and programs are known by tenant and object id, which never change; a name is only shown. What they may do
are app roles of the registration (`user`, `admin`, or a single scope's name), assigned in Entra; a token that was
given to a program on somebody's behalf may do no more than the delegated scopes in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import jwt
from pydantic import BaseModel

from nightshift.errors import Forbidden, Unauthorized
from nightshift.jwks import SigningKeys
from nightshift.keys import Scope
from nightshift.settings import Entra

USER = frozenset({Scope.READ, Scope.WRITE})
EVERYTHING = frozenset(Scope)
ROLES = {"user": USER, "admin": EVERYTHING, "read": frozenset({Scope.READ}), "write": frozenset({Scope.WRITE})}
DELEGATED = ROLES | {"user_impersonation": EVERYTHING}
"""`user_impersonation` is what the portal makes by default: whatever the user may."""
LEEWAY = 60
"""Seconds by which clocks may differ."""

_CLAIMS = {
    "http://schemas.microsoft.com/identity/claims/tenantid": "tid",
    "http://schemas.microsoft.com/identity/claims/objectidentifier": "oid",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/role": "roles",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress": "email",
}
"""App Service gives some claims their long names; which ones depends on its version."""


@dataclass(frozen=True)
class Account:
    subject: str
    name: str
    scopes: frozenset[Scope]


class _Claim(BaseModel):
    typ: str
    val: str


class _ClientPrincipal(BaseModel):
    auth_typ: str
    claims: list[_Claim]


def signed_in(entra: Entra, header: str) -> Account:
    """The account of App Service's X-MS-CLIENT-PRINCIPAL. The caller has made sure that App Service wrote it.

    Raises Unauthorized if it is not a sign-in of this tenant, Forbidden if the account may do nothing here.
    """
    try:
        principal = _ClientPrincipal.model_validate_json(base64.b64decode(header, validate=True))
    except ValueError as error:
        raise Unauthorized(
            "The sign-in that App Service passed on cannot be read; sign out and in again", "bad-sign-in"
        ) from error
    claims: dict[str, list[str]] = {}
    for claim in principal.claims:
        claims.setdefault(_CLAIMS.get(claim.typ, claim.typ), []).append(claim.val)
    tenants, people = set(claims.get("tid", [])), set(claims.get("oid", []))
    if principal.auth_typ != "aad" or tenants != {entra.tenant} or len(people) != 1:
        raise Unauthorized(
            "This is not a sign-in of the tenant that Nightshift belongs to; sign out and in again", "bad-sign-in"
        )
    [name] = [*claims.get("name", []), *claims.get("preferred_username", []), *claims.get("email", []), ""][:1]
    return _account(entra, people.pop(), name, _granted(ROLES, claims.get("roles", [])) | _everybody(entra))


class AccessTokens:
    """Verifies access tokens that this tenant issued for this app."""

    def __init__(self, entra: Entra, keys: SigningKeys | None = None) -> None:
        self._entra = entra
        here = f"{entra.authority}/{entra.tenant}"
        self._issuers = [f"{here}/v2.0", f"https://sts.windows.net/{entra.tenant}/"]
        # Keys for all tenants name them with a placeholder. A key for another one must not sign for this one.
        issuers = [f"{here}/v2.0", f"{entra.authority}/{{tenantid}}/v2.0"]
        self._keys = keys or SigningKeys(f"{here}/discovery/v2.0/keys", issuers)

    async def verify(self, token: str) -> Account:
        """Raises Unauthorized; Forbidden if the account may do nothing here; Retryable if Entra cannot be asked."""
        try:
            claims = await self._claims(token)
        except jwt.InvalidTokenError as error:
            raise Unauthorized(f"The access token is not valid here: {error}") from error
        roles = _granted(ROLES, cast(list[str], claims.get("roles", [])))
        if isinstance(claims.get("scp"), str):
            scopes = (roles | _everybody(self._entra)) & _granted(DELEGATED, claims["scp"].split())
        else:
            scopes = roles  # any program of the tenant gets a token for itself: without a role it means nothing
        return _account(self._entra, claims["oid"], str(claims.get("name") or claims["client"]), scopes)

    async def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
            raise jwt.InvalidTokenError("it is not signed as Entra signs")
        key = await self._keys.get(header["kid"])
        if key is None:
            raise jwt.InvalidTokenError("it is signed with a key that is not Entra's")
        claims = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=[self._entra.client_id, f"api://{self._entra.client_id}"],
            issuer=self._issuers,
            leeway=LEEWAY,
            options={"require": ["exp", "nbf", "iss", "aud", "tid", "oid", "sub"]},
        )
        if claims["tid"] != self._entra.tenant:
            raise jwt.InvalidTokenError("it is of another tenant")
        # An ID token has the same signature and audience, but tells the app who signed in, and opens nothing.
        claims["client"] = claims.get("azp") or claims.get("appid")
        for_itself = claims.get("idtyp", "app" if claims["oid"] == claims["sub"] else "user") == "app"
        if not claims["client"] or not (isinstance(claims.get("scp"), str) or for_itself):
            raise jwt.InvalidTokenError("it is not an access token")
        return claims


def _granted(table: dict[str, frozenset[Scope]], words: Iterable[str]) -> frozenset[Scope]:
    return frozenset[Scope]().union(*(table.get(word, frozenset()) for word in words))


def _everybody(entra: Entra) -> frozenset[Scope]:
    """What a person without any role may do."""
    return frozenset() if entra.role_required else USER


def _account(entra: Entra, object_id: str, name: str, scopes: frozenset[Scope]) -> Account:
    if not scopes:
        raise Forbidden("Your account has no role in Nightshift; ask an administrator for the role 'user'", "no-role")
    return Account(f"entra:{entra.tenant}:{object_id}", name[:200] or object_id, scopes)
