#!/usr/bin/env python3
"""What an environment costs: per 100 sessions, and per month whether anybody uses it or not.

    python scripts/cost_table.py              prints the tables of docs/azure.md
    python scripts/cost_table.py --write      puts them there
    python scripts/cost_table.py --prices FILE --models FILE    with your prices

Prices are those of infra/prices.toml and nightshift/prices.toml, quantities those of infra/environments and of the
session that infra/prices.toml describes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

type Tier = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "azure.md"
BEGIN, END = "<!-- cost: made by scripts/cost_table.py -->", "<!-- /cost -->"
TIERS = ("dev", "staging", "prod")
HOURS = 730
"""Of a month."""
SESSIONS = 100
ENDPOINTS, ZONES, IMAGE_GB = 7, 8, 32
"""As infra/ makes them; tests/infra counts them."""


@dataclass(frozen=True)
class Line:
    what: str
    quantity: str
    dollars: dict[str, float | None]
    """By tier. None: unpriced."""


def per_sessions(prices: dict[str, Any], models: dict[str, Any], tiers: dict[str, Any]) -> Iterator[Line]:
    session, each = prices["session"], prices["each"]

    def by_tier(price: float | None, quantity: float) -> dict[str, float | None]:
        return {tier: None if price is None else price * quantity * SESSIONS for tier in tiers}

    tokens: dict[str, float | None] = {}
    machines: dict[str, float | None] = {}
    fresh = session["input_tokens"] - session["cached_tokens"]
    for name, tier in tiers.items():
        model = models["models"].get(tier["model"])
        tokens[name] = model and SESSIONS / 1e6 * (
            fresh * model["input"]
            + session["cached_tokens"] * model["cached"]
            + session["output_tokens"] * model["output"]
        )
        price = prices["hour"].get(tier["machineSizes"][0])
        machines[name] = price and price * session["machine_hours"] * SESSIONS
    names = ", ".join(sorted({tier["model"] for tier in tiers.values()}))
    yield Line(
        f"model ({names})",
        f"{_short(session['input_tokens'])} tokens in, {_short(session['output_tokens'])} out a session",
        tokens,
    )
    yield Line("machines", f"{session['machine_hours']} hours a session", machines)
    disk = prices["month"]["disk_64_gb"] / HOURS
    yield Line("their disks", f"{session['disk_hours']} hours a session, 64 GB", by_tier(disk, session["disk_hours"]))
    network = sum(each[name] * session[name] for name in ("nat_gb", "endpoint_gb", "egress_gb"))
    yield Line("network", f"{session['nat_gb']} GB by NAT a session", by_tier(network, 1))
    actions = each.get("scheduler_million_actions")
    yield Line(
        "scheduler",
        f"{session['scheduler_actions']} actions a session",
        by_tier(actions, session["scheduler_actions"] / 1e6),
    )
    rus = {
        name: each["cosmos_million_rus"] * session["cosmos_rus"] / 1e6 * SESSIONS
        if tier["cosmosMaximumRUs"] == 0
        else 0.0
        for name, tier in tiers.items()
    }
    yield Line("Cosmos DB", f"{_short(session['cosmos_rus'])} request units a session", dict(rus))
    executions = each["functions_million_executions"] * session["function_executions"] / 1e6
    runs = {
        name: SESSIONS
        * (
            executions
            + each["functions_gb_second_always_ready"] * session["function_seconds"] * tier["instanceMemoryMB"] / 1024
        )
        for name, tier in tiers.items()
    }
    yield Line("function app", f"{session['function_seconds']} seconds a session", dict(runs))
    yield Line("logs and traces", f"{session['log_gb']} GB a session", by_tier(each["log_gb"], session["log_gb"]))


def per_month(prices: dict[str, Any], tiers: dict[str, Any]) -> Iterator[Line]:
    hour, month, each = prices["hour"], prices["month"], prices["each"]

    def same(dollars: float) -> dict[str, float | None]:
        return dict.fromkeys(tiers, dollars)

    yield Line("NAT gateway and its address", "1", same(HOURS * (hour["nat_gateway"] + hour["public_address"])))
    yield Line("private endpoints", str(ENDPOINTS), same(ENDPOINTS * HOURS * hour["private_endpoint"]))
    yield Line("private DNS zones", str(ZONES), same(ZONES * month["dns_zone"]))
    yield Line(
        "Web PubSub",
        _each(tiers, lambda tier: f"{tier['pubSubUnits']} unit"),
        {name: tier["pubSubUnits"] * month["pubsub_unit"] for name, tier in tiers.items()},
    )
    ready = {
        name: 2
        * tier["alwaysReady"]
        * tier["instanceMemoryMB"]
        / 1024
        * HOURS
        * 3600
        * each["functions_gb_second_baseline"]
        for name, tier in tiers.items()
    }
    yield Line("always-ready instances", _each(tiers, lambda tier: str(2 * tier["alwaysReady"])), dict(ready))
    least = {
        name: tier["cosmosMaximumRUs"] / 10 / 100 * hour["cosmos_100_autoscale_rus"] * HOURS
        for name, tier in tiers.items()
    }
    yield Line(
        "Cosmos DB, least of autoscale",
        _each(
            tiers, lambda tier: f"{tier['cosmosMaximumRUs'] // 10} RU/s" if tier["cosmosMaximumRUs"] else "serverless"
        ),
        dict(least),
    )
    images = {name: tier["imageReplicas"] * IMAGE_GB * month["image_gb"] for name, tier in tiers.items()}
    yield Line("image", _each(tiers, lambda tier: f"{tier['imageReplicas']}x{IMAGE_GB} GB"), dict(images))


def table(title: str, lines: list[Line]) -> str:
    head = f"| {title} | quantity | {' | '.join(TIERS)} |\n|---|---|{'---:|' * len(TIERS)}\n"
    rows = [
        f"| {line.what} | {line.quantity} | {' | '.join(_dollars(line.dollars[tier]) for tier in TIERS)} |"
        for line in lines
    ]
    totals = {tier: sum(line.dollars[tier] or 0.0 for line in lines) for tier in TIERS}
    unpriced = any(line.dollars[tier] is None for line in lines for tier in TIERS)
    name = "**all that is priced**" if unpriced else "**all**"
    rows.append(f"| {name} | | {' | '.join(f'**{_dollars(totals[tier])}**' for tier in TIERS)} |")
    return head + "\n".join(rows) + "\n"


def document(prices_path: Path, models_path: Path) -> str:
    prices, models = tomllib.loads(prices_path.read_text()), tomllib.loads(models_path.read_text())
    tiers = {tier: json.loads((ROOT / "infra" / "environments" / f"{tier}.json").read_text()) for tier in TIERS}
    return (
        f"US dollars; prices of Azure as of {prices['date']}, of models as of {models['date']}.\n\n"
        + table(f"per {SESSIONS} sessions", list(per_sessions(prices, models, tiers)))
        + "\n"
        + table("per month, used or not", list(per_month(prices, tiers)))
    )


def _each(tiers: dict[str, Tier], text: Callable[[Tier], str]) -> str:
    found = [text(tier) for tier in tiers.values()]
    return found[0] if len(set(found)) == 1 else ", ".join(found)


def _dollars(value: float | None) -> str:
    return "unpriced" if value is None else f"{value:.2f}"


def _short(number: float) -> str:
    return f"{number / 1e6:g} M" if number >= 1e6 else f"{number / 1e3:g} k"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--prices", type=Path, default=ROOT / "infra" / "prices.toml")
    parser.add_argument("--models", type=Path, default=ROOT / "nightshift" / "prices.toml")
    arguments = parser.parse_args()
    text = document(arguments.prices, arguments.models)
    if not arguments.write:
        print(text)
        return 0
    whole = DOCUMENT.read_text()
    pattern = re.compile(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(whole):
        print(f"{DOCUMENT} has no place for it: {BEGIN} ... {END}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}{END}", whole))
    return 0


if __name__ == "__main__":
    sys.exit(main())
