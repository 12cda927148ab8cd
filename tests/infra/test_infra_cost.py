from __future__ import annotations

import re
from pathlib import Path

from scripts import cost_table
from tests.infra.conftest import ROOT

PRICES, MODELS = ROOT / "infra" / "prices.toml", ROOT / "nightshift" / "prices.toml"


def test_the_document_has_the_present_table() -> None:
    text = (ROOT / "docs" / "azure.md").read_text()
    table = text.partition(cost_table.BEGIN)[2].partition(cost_table.END)[0].strip()
    assert table == cost_table.document(PRICES, MODELS).strip(), "python scripts/cost_table.py --write"


def test_counts_are_those_of_the_template() -> None:
    modules = {path: path.read_text() for path in (ROOT / "infra" / "modules").glob("*.bicep")}
    endpoints = sum(len(re.findall(r"^module \w+ 'endpoint\.bicep'", text, re.MULTILINE)) for text in modules.values())
    storage_accounts = (ROOT / "infra" / "main.bicep").read_text().count("'modules/storage.bicep'")
    # storage.bicep makes one for each service, and is used twice with one service each
    assert endpoints - 1 + storage_accounts == cost_table.ENDPOINTS
    zones = (ROOT / "infra" / "modules" / "zones.bicep").read_text()
    assert len(re.findall(r"^  'privatelink\.", zones, re.MULTILINE)) == cost_table.ZONES


def test_what_has_no_price_is_told_and_not_counted_as_nothing(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text('date = 2026-01-01\n[models."another"]\ninput = 1\ncached = 1\noutput = 1\n')
    text = cost_table.document(PRICES, models)
    assert re.search(r"\| model .*\| unpriced \| unpriced \| unpriced \|", text)
    assert "**all that is priced**" in text


def test_a_price_counts_once(tmp_path: Path) -> None:
    """Doubling the price of the machines adds what they cost."""
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES.read_text().replace('"Standard_D2as_v5" = 0.086', '"Standard_D2as_v5" = 0.172'))

    def dev(text: str, row: str) -> float:
        line = next(each for each in text.splitlines() if row in each)
        return float(line.split("|")[3].strip(" *"))

    before, after = cost_table.document(PRICES, MODELS), cost_table.document(prices, MODELS)
    assert dev(after, "| machines") == 2 * dev(before, "| machines")
    total = "**all that is priced**"
    assert round(dev(after, total) - dev(before, total), 2) == dev(before, "| machines")
