"""What tokens cost: a dated price table, and the sum over a session's usage."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nightshift.models import Tokens, TurnUsage, UsageTotal

BUILT_IN = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    cached: float
    output: float
    window: int | None = None
    """Input tokens that the model takes; None: unknown."""

    def of(self, tokens: Tokens) -> float:
        """Cached tokens are part of the input, reasoning tokens part of the output."""
        fresh = tokens.input - tokens.cached
        return (fresh * self.input + tokens.cached * self.cached + tokens.output * self.output) / 1e6


type PriceTable = dict[str, Price]


def load_prices(override: Path | None = None) -> PriceTable:
    """The built-in table, with the entries of `override` laid over it."""
    table: PriceTable = {}
    for path in (BUILT_IN, override):
        if path is not None:
            models = tomllib.loads(path.read_text("utf-8"))["models"]
            table |= {name: Price(**price) for name, price in models.items()}
    return table


def total(usage: Iterable[TurnUsage], prices: PriceTable) -> UsageTotal:
    """Sum of a session's usage. `cost_usd` is None if any model is not in the table."""
    tokens, cost, unpriced = Tokens(), 0.0, set[str]()
    for entry in usage:
        tokens = add(tokens, entry.tokens)
        price = prices.get(entry.model)
        if price is None:
            unpriced.add(entry.model)
        else:
            cost += price.of(entry.tokens)
    return UsageTotal(tokens=tokens, cost_usd=None if unpriced else round(cost, 6), unpriced=sorted(unpriced))


def add(a: Tokens, b: Tokens) -> Tokens:
    pairs = zip(a.model_dump().items(), b.model_dump().values(), strict=True)
    return Tokens(**{name: left + right for (name, left), right in pairs})
