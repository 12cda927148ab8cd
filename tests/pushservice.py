"""A push service on this computer, and the browsers behind it: it checks who sends (RFC 8292), they decrypt (RFC 8291).

The decryption is written from the RFC and held against its own example in tests/nightshift/test_webpush.py.
"""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nightshift.webpush import Keys, Subscription


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decrypt(body: bytes, private: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    salt, length = body[:16], body[20]
    sender, sealed = body[21 : 21 + length], body[21 + length :]
    assert int.from_bytes(body[16:20]) > len(sealed)  # one record, as RFC 8291 section 4 wants it
    shared = private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
    secret = HKDF(SHA256(), 32, auth, b"WebPush: info\0" + point(private) + sender).derive(shared)
    key = HKDF(SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(secret)
    nonce = HKDF(SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(secret)
    padded = AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\0")
    assert padded.endswith(b"\2")
    return padded[:-1]


def point(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@dataclass
class Browser:
    """One subscription."""

    endpoint: str
    server_key: str
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = b"a secret of 16 b"
    status: int = 201
    """What its push service answers."""
    holds: bool = False
    """Its push service takes the request and says nothing."""
    got: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    @property
    def subscription(self) -> Subscription:
        keys = Keys(p256dh=encode(point(self.private)), auth=encode(self.auth))
        return Subscription(endpoint=self.endpoint, keys=keys)

    def take(self, headers: Mapping[str, str], body: bytes, origin: str) -> None:
        scheme, _, credentials = headers["Authorization"].partition(" ")
        given = dict(part.strip().split("=", 1) for part in credentials.split(","))
        assert (scheme, given["k"]) == ("vapid", self.server_key)
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(given["k"]))
        claims = jwt.decode(given["t"], key, algorithms=["ES256"], audience=origin, options={"require": ["exp", "aud"]})
        assert claims["exp"] - time.time() < 24 * 3600
        assert headers["Content-Encoding"] == "aes128gcm"
        assert int(headers["TTL"]) > 0
        assert len(headers["Topic"]) <= 32
        self.headers.append({name: headers[name] for name in ("Topic", "Urgency", "TTL")})
        self.got.append(json.loads(decrypt(body, self.private, self.auth)))


@dataclass
class PushService:
    origin: str
    browsers: dict[str, Browser] = field(default_factory=dict[str, Browser])
    faults: list[BaseException] = field(default_factory=list[BaseException])
    asked: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def subscribe(self, server_key: str) -> Browser:
        path = f"/push/{len(self.browsers)}"
        self.browsers[path] = Browser(self.origin + path, server_key)
        return self.browsers[path]


@contextmanager
def push_service() -> Generator[PushService]:
    """Whatever it had to object to is raised at its end."""

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            browser = service.browsers[self.path]
            service.asked.set()
            if browser.holds:
                service.released.wait()
                return
            try:
                if browser.status == 201:
                    browser.take(dict(self.headers.items()) | {"TTL": self.headers["TTL"]}, body, service.origin)
            except BaseException as fault:
                service.faults.append(fault)
                self.send_error(400, str(fault)[:50])
                return
            self.send_response(browser.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    service = PushService(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever).start()
    try:
        yield service
    finally:
        service.released.set()
        server.shutdown()
        server.server_close()
    assert service.faults == []
