"""What tokens cost: a dated price table, and the sum over a session's usage."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from nightshift.errors import Permanent
from nightshift.models import Tokens, TurnUsage, UsageTotal

BUILT_IN = Path(__file__).with_name("prices.toml")
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")
"""How model names end that are one version of a model: gpt-5.2-2025-12-11."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    cached: float
    output: float
    above: int = 0
    """Of calls with more input tokens than this."""

    def of(self, tokens: Tokens) -> float:
        """Cached tokens are part of the input, reasoning tokens part of the output."""
        fresh = tokens.input - tokens.cached
        return (fresh * self.input + tokens.cached * self.cached + tokens.output * self.output) / 1e6


@dataclass(frozen=True)
class ModelPrice:
    """One model's entry in the table."""

    as_of: date
    steps: tuple[Price, ...]
    """By `above`, 0 first: long calls have prices of their own."""
    window: int | None = None
    """Input tokens that the model takes; None: unknown."""

    def of(self, tokens: Tokens, above: int) -> float:
        """What calls cost that were all above this many input tokens, and below the next step."""
        return next(step for step in reversed(self.steps) if step.above <= above).of(tokens)


@dataclass(frozen=True)
class PriceTable:
    models: Mapping[str, ModelPrice]
    deployments: Mapping[str, str]
    """By the name of an Azure deployment: the model that it is one of."""

    def find(self, name: str) -> ModelPrice | None:
        """A deployment's model, the model of this name, or the one of which this is a dated version."""
        name = self.deployments.get(name, name)
        return self.models.get(name) or self.models.get(_DATED.sub("", name))


def load_prices(override: Path | None = None, deployments: Mapping[str, str] | None = None) -> PriceTable:
    """The built-in table, with the entries of `override` laid over it. Raises Permanent if that is no price table."""
    models = _read(BUILT_IN)
    if override is not None:
        try:
            models |= _read(override)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise Permanent(
                f"NIGHTSHIFT_PRICES names {override}, which is no price table: {type(fault).__name__} {fault}",
                f"Write it as {BUILT_IN} is written.",
            ) from fault
    return PriceTable(models, deployments or {})


def price_steps(table: PriceTable) -> list[int]:
    """Where any model's price changes with the length of a call, in input tokens, ascending."""
    return sorted({step.above for model in table.models.values() for step in model.steps} - {0})


def total(usage: Iterable[TurnUsage], prices: PriceTable) -> UsageTotal:
    """Sum of a session's usage. `cost_usd` is None if any model is not in the table."""
    tokens, cost, unpriced = Tokens(), 0.0, set[str]()
    for entry in usage:
        tokens += entry.tokens
        price = prices.find(entry.model)
        if price is None:
            unpriced.add(entry.model)
        else:
            cost += price.of(entry.tokens, entry.above)
    return UsageTotal(tokens=tokens, cost_usd=None if unpriced else round(cost, 6), unpriced=sorted(unpriced))


def known_cost(usage: Iterable[TurnUsage], prices: PriceTable) -> float:
    """US dollars, of those models that are in the table."""
    priced = ((prices.find(entry.model), entry) for entry in usage)
    return sum(price.of(entry.tokens, entry.above) for price, entry in priced if price)


def _read(path: Path) -> dict[str, ModelPrice]:
    content = tomllib.loads(path.read_text("utf-8"))
    return {name: _entry(dict(entry), content["date"]) for name, entry in content["models"].items()}


def _entry(entry: dict[str, Any], table_date: date) -> ModelPrice:
    as_of, long, window = entry.pop("date", table_date), entry.pop("long", []), entry.pop("window", None)
    steps = [Price(**entry), *(Price(**step) for step in long)]
    return ModelPrice(as_of, tuple(sorted(steps, key=lambda step: step.above)), window)
