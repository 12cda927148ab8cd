"""Web Push: a message to a browser by way of its maker's push service (RFC 8030), which cannot read it (RFC 8291).

The service knows us by a key pair (VAPID, RFC 8292) that follows from the signing key, so there is none to make, keep
or configure. A new signing key ends all subscriptions: their owners turn notifications on again.
"""

from __future__ import annotations

import hashlib
import logging
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import http_ece  # pyright: ignore[reportMissingTypeStubs]
import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field, field_validator

from nightshift.errors import Permanent, Retryable, may_pass
from nightshift.models import Model
from nightshift.settings import Settings

KEPT = timedelta(days=1)
"""How long the push service keeps a message for a browser that is off."""
_TOKEN = timedelta(hours=12)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every URL at INFO, and an endpoint is a secret
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256."""
_BASE64URL = r"^[A-Za-z0-9_-]+=*$"


class Gone(Permanent):
    """The browser took its subscription back."""


class Keys(Model):
    """The browser's, as base64url: what is encrypted for them nobody else can read."""

    p256dh: str = Field(max_length=120, pattern=_BASE64URL)
    auth: str = Field(max_length=40, pattern=_BASE64URL)

    @field_validator("p256dh")
    @classmethod
    def _is_a_point(cls, text: str) -> str:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _decode(text))  # raises ValueError
        return text

    @field_validator("auth")
    @classmethod
    def _is_16_bytes(cls, text: str) -> str:
        if len(_decode(text)) != 16:
            raise ValueError("must be 16 bytes")
        return text


class Subscription(Model):
    """As a browser's PushSubscription says it in JSON. Whoever has it can be nobody but its browser, or us."""

    endpoint: str = Field(max_length=2000)
    keys: Keys
    expirationTime: float | None = None
    """Its own name for it. Nothing is made of it: an ended subscription is 410 at its push service."""


class Message(Model):
    """What a browser shows. Nobody on the way can read it."""

    title: str
    body: str
    url: str
    """Path of the page that a click opens."""
    tag: str
    """A later one takes the place of one with the same: at the push service, and on the screen."""
    urgency: Literal["normal", "high"] = "normal"
    """high: also to a phone that saves its battery."""


@dataclass(frozen=True)
class WebPush:
    """This deployment, as push services know it."""

    key: ec.EllipticCurvePrivateKey
    services: tuple[str, ...]
    """Origins that a subscription may have; * stands for any name before the rest."""
    contact: str
    """Whom a push service may turn to. Apple's wants one."""

    @classmethod
    def of(cls, settings: Settings) -> WebPush:
        contact = settings.public_url if settings.public_url.startswith("https://") else ""
        return cls(_key_from(settings.signing_key), settings.push_services, contact)

    @property
    def public_key(self) -> str:
        """What a browser subscribes with (`applicationServerKey`)."""
        return _encode(_point(self.key))

    def knows(self, endpoint: str) -> bool:
        """Whether it is an address of a known service. The endpoint is a client's word: no other is ever called."""
        try:
            url = httpx.URL(endpoint)
        except httpx.InvalidURL:
            return False
        return not url.userinfo and any(_is_of(_origin(url), service) for service in self.services)

    async def send(self, http: httpx.AsyncClient, subscription: Subscription, message: Message) -> None:
        """Hand the message to the push service. Raises Gone, Retryable or Permanent."""
        if not self.knows(subscription.endpoint):
            raise Permanent("The push service is none that this deployment knows", "See NIGHTSHIFT_PUSH_SERVICES.")
        url = httpx.URL(subscription.endpoint)
        headers = {
            "Authorization": f"vapid t={self._token(_origin(url))}, k={self.public_key}",
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(int(KEPT.total_seconds())),
            "Topic": hashlib.sha256(message.tag.encode()).hexdigest()[:32],  # as much as there may be
            "Urgency": message.urgency,
        }
        secret = encrypt(message.model_dump_json(exclude={"urgency"}).encode(), subscription.keys)
        try:
            answer = await http.post(url, content=secret, headers=headers)
        except httpx.HTTPError as error:
            raise Retryable(f"{url.host} did not answer: {type(error).__name__}") from error
        _judge(url.host, answer)

    def _token(self, origin: str) -> str:
        claims = {"aud": origin, "exp": datetime.now(UTC) + _TOKEN} | ({"sub": self.contact} if self.contact else {})
        return jwt.encode(claims, self.key, algorithm="ES256")


def encrypt(message: bytes, keys: Keys) -> bytes:
    """For the browser alone, with a key pair of this message's own."""
    once = ec.generate_private_key(ec.SECP256R1())
    dh, auth = _decode(keys.p256dh), _decode(keys.auth)
    return cast(Any, http_ece).encrypt(message, private_key=once, dh=dh, auth_secret=auth)


def _judge(host: str, answer: httpx.Response) -> None:
    status, words = answer.status_code, f"{answer.status_code} {answer.text[:200]}".strip()
    if answer.is_success:
        return
    if status in (404, 410):
        raise Gone(f"{host}: the browser takes no notifications any more")
    if may_pass(status):
        raise Retryable(f"{host}: {words}")
    raise Permanent(f"{host} refused the notification: {words}")


def _key_from(signing_key: str) -> ec.EllipticCurvePrivateKey:
    """48 bytes, so that no number is likelier than another by more than a hair."""
    derived = HKDF(SHA256(), 48, salt=None, info=b"nightshift vapid").derive(signing_key.encode())
    return ec.derive_private_key(1 + int.from_bytes(derived) % (_ORDER - 1), ec.SECP256R1())


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _origin(url: httpx.URL) -> str:
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.raw_host.decode()}{port}"


def _is_of(origin: str, service: str) -> bool:
    return re.fullmatch(re.escape(service).replace(r"\*", r"[a-z0-9.-]+"), origin) is not None


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Raises ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
