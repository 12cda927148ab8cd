"""Who the app is to emulators, and whom it trusts: tokens and certificates that are made here."""

from __future__ import annotations

import ipaddress
import secrets
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp.connector
import jwt
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nightshift.testing.wire import Answer, Request, serve


class Identity:
    """A managed identity's credential, as the SDKs ask for it: signs its own tokens, which no emulator checks."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return _token(scopes[0].removesuffix("/.default"))

    async def close(self) -> None:
        return None

    async def __aenter__(self) -> Identity:
        return self

    async def __aexit__(self, exc_type: Any = None, exc_value: Any = None, traceback: Any = None) -> None:
        return None


def _token(audience: str) -> AccessToken:
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": "https://sts.windows.net/11111111-1111-1111-1111-111111111111/",
        "tid": "11111111-1111-1111-1111-111111111111",
        "oid": "22222222-2222-2222-2222-222222222222",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    return AccessToken(jwt.encode(claims, "k" * 32), now + 3600)


@asynccontextmanager
async def managed_identity() -> AsyncGenerator[dict[str, str]]:
    """Where `azure-identity` asks for tokens of a managed identity, as App Service tells an app: by its environment."""
    secret = secrets.token_hex(16)

    async def answer(request: Request) -> Answer:
        if request.headers.get("x-identity-header") != secret:
            return Answer(401, {"message": "The header X-IDENTITY-HEADER is not this app's."})
        [resource] = parse_qs(urlsplit(request.target).query)["resource"]
        token = _token(resource)
        body = {"access_token": token.token, "expires_on": str(token.expires_on), "resource": resource}
        return Answer(200, body | {"token_type": "Bearer"})

    server = await serve(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/msi/token"
    try:
        yield {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": secret}
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) for 127.0.0.1, as PEM files."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def trust(certificate: Path) -> None:
    """By this process's Azure clients. Another process does with SSL_CERT_FILE in its environment."""
    # Made when aiohttp was imported. A context of one's own has azure-core connect anew for every request.
    trusted: ssl.SSLContext = vars(aiohttp.connector)["_SSL_CONTEXT_VERIFIED"]
    trusted.load_verify_locations(certificate)
