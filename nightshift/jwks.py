"""The keys that an issuer signs its tokens with: fetched when needed, kept, and looked up by their id.

An issuer changes its keys without notice, so an unknown id is a reason to fetch again; but anybody can send a token
with an invented id, so no sooner than PAUSE after the last try. An issuer that is away is a passing fault, and no
judgement on the token.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from nightshift.errors import Retryable

FRESH = 3600.0
"""Seconds after which keys are fetched again, so that a withdrawn one ends."""
USABLE = 24 * 3600.0
"""Seconds for which known keys are good while the issuer cannot be reached."""
PAUSE = 30.0
"""Seconds between two tries."""
_TIMEOUT = 5.0
_log = logging.getLogger(__name__)


class SigningKeys:
    """RSA keys at a URL. A key that names whose tokens it is for is only taken if that is one of `issuers`."""

    def __init__(self, url: str, issuers: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._issuers = issuers
        self._clock = clock
        self._keys: dict[str, RSAPublicKey] = {}
        self._read_at = self._tried_at = -USABLE
        self._fault = "not fetched yet"
        self._lock = asyncio.Lock()

    async def get(self, kid: str) -> RSAPublicKey | None:
        """None if the issuer has no such key. Raises Retryable if that cannot be said."""
        if kid in self._keys and self._age() < FRESH:
            return self._keys[kid]
        async with self._lock:  # of many at once one fetches, the others find what it fetched
            if (kid not in self._keys or self._age() >= FRESH) and self._clock() - self._tried_at >= PAUSE:
                await self._fetch()
        if kid in self._keys and self._age() < USABLE:
            return self._keys[kid]
        if self._fault:
            raise Retryable(f"the keys at {self._url} could not be read: {self._fault}", PAUSE)
        return None

    def _age(self) -> float:
        return self._clock() - self._read_at

    async def _fetch(self) -> None:
        self._tried_at, self._fault = self._clock(), "the last try did not end"
        try:
            async with asyncio.timeout(_TIMEOUT), httpx.AsyncClient() as http:
                answer = await http.get(self._url)
            self._keys = self._usable(answer.raise_for_status().json()["keys"])
        except (httpx.HTTPError, TimeoutError, LookupError, TypeError, ValueError, jwt.PyJWTError) as error:
            self._fault = f"{type(error).__name__}: {error}"
            _log.warning("the keys at %s could not be read: %s", self._url, self._fault)
            return
        self._read_at, self._fault = self._clock(), ""

    def _usable(self, found: list[dict[str, Any]]) -> dict[str, RSAPublicKey]:
        """Raises ValueError if there is none."""
        keys: dict[str, RSAPublicKey] = {}
        for each in found:
            ours = "issuer" not in each or each["issuer"] in self._issuers
            if ours and each["kty"] == "RSA" and each.get("use", "sig") == "sig":
                key = jwt.PyJWK(each, algorithm="RS256").key
                if isinstance(key, RSAPublicKey) and key.key_size >= 2048:
                    keys[each["kid"]] = key
        if not keys:
            raise ValueError("there is no usable key")
        return keys
