"""A tenant of our own: signs tokens as Entra does, publishes its keys over HTTP, and writes App Service's header."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from nightshift.entra import AccessTokens
from nightshift.jwks import SigningKeys
from nightshift.settings import Entra

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "22222222-2222-4222-8222-222222222222"
OTHER = "99999999-9999-4999-8999-999999999999"
ANN = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
LONG = (
    "http://schemas.microsoft.com/identity/claims/tenantid",
    "http://schemas.microsoft.com/identity/claims/objectidentifier",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
)
SUBJECT = f"entra:{TENANT}:{ANN}"


@cache
def private_key(kid: str) -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def pem(kid: str) -> bytes:
    """The public key, as an attacker has it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private_key(kid).public_key().public_bytes(serialization.Encoding.PEM, form)


@dataclass
class Issuer:
    """What it publishes is what `published` names; `answer` replaces that, to be ill. Time stands still in it."""

    authority: str
    published: list[str] = field(default_factory=lambda: ["first"])
    answer: tuple[int, bytes] | None = None
    asked: list[str] = field(default_factory=list[str])
    now: float = 1000.0
    key_issuer: str = ""

    @property
    def entra(self) -> Entra:
        return Entra(TENANT, CLIENT, self.authority)

    def access_tokens(self) -> AccessTokens:
        issuers = [f"{self.authority}/{TENANT}/v2.0", f"{self.authority}/{{tenantid}}/v2.0"]
        url = f"{self.authority}/{TENANT}/discovery/v2.0/keys"
        return AccessTokens(self.entra, SigningKeys(url, issuers, lambda: self.now))

    def keys(self) -> dict[str, Any]:
        named = self.key_issuer or f"{self.authority}/{{tenantid}}/v2.0"
        return {
            "keys": [
                RSAAlgorithm.to_jwk(private_key(kid).public_key(), as_dict=True)
                | {"kid": kid, "use": "sig", "issuer": named}
                for kid in self.published
            ]
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """An access token that a program has on behalf of Ann, a user. A change to None takes the claim away."""
        now = time.time()
        claims = {
            "iss": f"{self.authority}/{TENANT}/v2.0",
            "aud": CLIENT,
            "tid": TENANT,
            "oid": ANN,
            "sub": "pairwise",
            "azp": OTHER,
            "name": "Ann",
            "scp": "user_impersonation",
            "roles": ["user"],
            "ver": "2.0",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, kid: str = "first", **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), private_key(kid), algorithm="RS256", headers={"kid": kid})

    def bearer(self, **changes: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(**changes)}"}


@contextmanager
def issuer() -> Generator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            status, body = made.answer or (200, json.dumps(made.keys()).encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Issuer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def signed_in(*roles: str, oid: str = ANN, tenant: str = TENANT, long: bool = True, **changes: Any) -> dict[str, str]:
    """The header with which App Service passes on who is signed in."""
    tid, person, role = LONG if long else ("tid", "oid", "roles")
    values = [(tid, tenant), (person, oid), ("name", "Ann"), *((role, each) for each in roles)]
    principal: dict[str, Any] = {
        "auth_typ": "aad",
        "name_typ": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
        "role_typ": LONG[2],
        "claims": [{"typ": typ, "val": value} for typ, value in values],
    }
    return header(json.dumps(principal | changes))


def header(text: str | bytes) -> dict[str, str]:
    content = text.encode() if isinstance(text, str) else text
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(content).decode()}
