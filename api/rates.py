"""How often somebody may ask: as often as no person does, and less than a script that ran wild.

Token buckets in memory, which cost a request nothing. Each instance of the app has its own, so that with several of
them somebody may get up to so many times as much: it is a guard against accidents, and no quota. What must not be
passed, budgets for one, is counted in the store.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from fastapi import Request

from nightshift.errors import TooManyRequests

_MOST = 10_000
"""Buckets of one rate that are kept: the longest unused one is forgotten."""


@dataclass(frozen=True)
class Rate:
    """`burst` at once, and `per_second` from then on."""

    name: str
    burst: int
    per_second: float


SESSIONS = Rate("new sessions", 60, 0.2)
WRITES = Rate("changes", 300, 5)
READS = Rate("requests", 1500, 50)
FAILURES = Rate("wrong keys or tokens", 60, 0.5)


class Rates:
    """What is left to whom. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[Rate, OrderedDict[str, tuple[float, float]]] = {}

    def take(self, rate: Rate, who: str, count: int = 1) -> None:
        """Raises TooManyRequests, which takes nothing. With a `count` of 0 it only looks whether there is one left."""
        buckets, now = self._left.setdefault(rate, OrderedDict()), self._clock()
        left, then = buckets.pop(who, (float(rate.burst), now))
        left = min(rate.burst, left + (now - then) * rate.per_second)
        if left < 1:
            buckets[who] = left, now
            seconds = math.ceil((1 - left) / rate.per_second)
            raise TooManyRequests(f"Too many {rate.name} in a short time: try again in {seconds} s", seconds)
        buckets[who] = left - count, now
        if len(buckets) > _MOST:
            buckets.popitem(last=False)


def rates_of(request: Request) -> Rates:
    rates: Rates = request.app.state.rates
    return rates


def address_of(request: Request) -> str:
    """Where a request comes from. The platform's front end adds the client's address as the last; where there is no
    such front end, on one machine, all are one."""
    last = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    host = last.rpartition(":")[0].strip("[]") if last.startswith("[") or last.count(":") == 1 else last
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    # Whoever has one IPv6 address has a network of them.
    return str(IPv6Address(int(address) >> 64 << 64)) if isinstance(address, IPv6Address) else str(address)
