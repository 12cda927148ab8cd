"""What tokens cost, to the last cent."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from nightshift.errors import Permanent
from nightshift.models import Tokens, TurnUsage
from nightshift.pricing import load_prices, price_steps, total
from nightshift.settings import Settings

MINE = """
date = 2026-11-01
[models.mine]
input = 1.0
cached = 0.1
output = 10.0
long = [
    { above = 500_000, input = 4.0, cached = 0.4, output = 40.0 },
    { above = 200_000, input = 2.0, cached = 0.2, output = 20.0 },
]
[models."gpt-5.2"]
date = 2026-01-01
input = 0.0
cached = 0.0
output = 0.0
"""


@pytest.fixture
def override(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    return path


def used(model: str, above: int = 0, input: int = 1_000_000, cached: int = 0, output: int = 0) -> TurnUsage:
    return TurnUsage(turn=1, model=model, above=above, tokens=Tokens(input=input, cached=cached, output=output))


def test_cached_input_is_part_of_the_input() -> None:
    spent = total([used("gpt-5.1", cached=400_000, output=100_000)], load_prices())
    assert spent.cost_usd == round(0.6 * 1.25 + 0.4 * 0.125 + 0.1 * 10, 6)


def test_long_calls_have_prices_of_their_own(override: Path) -> None:
    prices = load_prices(override)
    assert total([used("mine", output=1_000_000)], prices).cost_usd == 11.0
    assert total([used("mine", 200_000, output=1_000_000)], prices).cost_usd == 22.0
    assert total([used("mine", 500_000, cached=1_000_000)], prices).cost_usd == 0.4
    assert total([used("mine"), used("mine", 200_000), used("mine", 500_000)], prices).cost_usd == 7.0
    assert total([used("mine", 272_000)], prices).cost_usd == 2.0, "another model's step: the next one below counts"
    assert total([used("gpt-5.1", 200_000)], prices).cost_usd == 1.25, "this model has no steps"
    assert price_steps(prices) == [200_000, 272_000, 500_000]


def test_an_unknown_model_is_unpriced_and_never_free() -> None:
    spent = total([used("gpt-5.1"), used("who-knows", input=0)], load_prices())
    assert (spent.cost_usd, spent.unpriced) == (None, ["who-knows"])
    assert spent.tokens.input == 1_000_000


@pytest.mark.parametrize("name", ["gpt-5.1-2025-11-13", "gpt-5.1-20251113", "team-gpt"])
def test_dated_versions_and_deployments_have_their_models_price(name: str) -> None:
    prices = load_prices(deployments={"team-gpt": "gpt-5.1"})
    assert total([used(name)], prices).cost_usd == 1.25


@pytest.mark.parametrize("name", ["gpt-5.1-codex", "gpt-5.1-mini", "gpt-5.10", "openai/gpt-5.1"])
def test_a_name_that_only_begins_alike_is_another_model(name: str) -> None:
    assert total([used(name)], load_prices()).unpriced == [name]


def test_an_override_is_laid_over_the_table(override: Path) -> None:
    prices = load_prices(override)
    assert total([used("gpt-5.2")], prices).cost_usd == 0
    assert total([used("gpt-5.1")], prices).cost_usd == 1.25
    assert (prices.models["mine"].as_of, prices.models["gpt-5.2"].as_of) == (date(2026, 11, 1), date(2026, 1, 1))
    assert load_prices().models["gpt-5.1"].as_of == date(2025, 12, 11)


@pytest.mark.parametrize("content", ["nonsense", "date = 2026-01-01", "date = 2026-01-01\n[models.x]\ninput = 1.0"])
def test_an_override_that_is_no_table_says_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(content)
    for wrong in (path, tmp_path / "missing.toml"):
        with pytest.raises(Permanent, match="NIGHTSHIFT_PRICES names") as fault:
            load_prices(wrong)
        assert "prices.toml" in fault.value.advice


def test_deployments_are_read_from_the_environment() -> None:
    environment = {"NIGHTSHIFT_SIGNING_KEY": "k" * 32, "NIGHTSHIFT_DEPLOYMENTS": "team-gpt=gpt-5.1, small=gpt-5-mini,"}
    assert Settings.read(environment).deployments == {"team-gpt": "gpt-5.1", "small": "gpt-5-mini"}
    with pytest.raises(Permanent, match="'team-gpt'"):
        Settings.read(environment | {"NIGHTSHIFT_DEPLOYMENTS": "team-gpt"})
