"""Budgets over HTTP: reservations, what settles them, raises, and going on after one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from nightshift.models import NewItem, SessionRequest
from nightshift.pricing import load_prices
from tests.api.house import House

MODEL = "gpt-5.2"
BUDGET = 0.10


@pytest.fixture
def shop(house: House) -> House:
    """The house with the built-in price table."""
    object.__setattr__(house.services, "prices", load_prices())
    return house


async def begin(shop: House, **request: Any) -> str:
    session_id = await shop.begin(model=MODEL, **request)
    await shop.start_machine(session_id)
    shop.bells.rung.clear()
    return session_id


async def reserve(
    shop: House, session_id: str, id: str, *, calls: int = 0, generation: int = 1, model: str = MODEL
) -> httpx.Response:
    usage: list[dict[str, Any]] = [
        {"turn": 1, "model": MODEL, "tokens": {"input": 4000 * calls, "output": 1000 * calls, "calls": calls}}
    ]
    body = {"id": id, "model": model, "input_tokens": 4000, "max_output_tokens": 32_000, "usage": usage[: calls or 0]}
    headers = shop.worker(session_id, generation)
    return await shop.http.post("/api/worker/reservations", json=body, headers=headers)


async def exhaust(shop: House, session_id: str) -> tuple[list[int], dict[str, Any]]:
    """Calls of $0.021 each until no more is granted: (output tokens of the grants, the refusal)"""
    granted: list[int] = []
    for number in range(10):
        answer = await reserve(shop, session_id, f"c{number}", calls=number)
        if answer.status_code == 402:
            return granted, answer.json()
        granted.append(answer.json()["max_output_tokens"])
    raise AssertionError("the budget has no end")


async def close_turn(shop: House, session_id: str) -> None:
    notice = NewItem(id="1.closed", kind="notice", code="budget_exhausted", text="No money.", turn=1)  # type: ignore[arg-type]
    body = {"items": [notice.model_dump(mode="json")]}
    answer = await shop.http.post("/api/worker/items", json=body, headers=shop.worker(session_id))
    assert answer.status_code == 200


async def raise_to(shop: House, session_id: str, budget: float, key: str | None = None) -> int:
    headers = {"Idempotency-Key": key} if key else {}
    path = f"/api/sessions/{session_id}/budget"
    return (await shop.http.post(path, json={"budget_usd": budget}, headers=headers)).status_code


async def said(shop: House, session_id: str) -> list[str]:
    return [item.text for item in await shop.services.log.items(session_id) if item.kind == "user_message"]


async def test_without_a_budget_every_call_is_granted_and_nothing_is_kept(shop: House):
    session_id = await begin(shop)
    before = shop.stored()
    answer = await reserve(shop, session_id, "c1")
    assert answer.json() == {"max_output_tokens": None, "remaining_usd": None}
    assert shop.stored() == before


async def test_a_budget_is_never_passed(shop: House):
    session_id = await begin(shop, budget_usd=BUDGET)
    granted, refusal = await exhaust(shop, session_id)
    assert granted == [int((BUDGET - 0.007 - number * 0.021) / 14e-6) for number in range(4)]
    assert refusal["title"] == "Budget exhausted"
    assert "$0.0840 of $0.10 are spent" in refusal["detail"]


async def test_the_same_reservation_again_takes_nothing_twice_and_many_at_once_do_not_pass_it(shop: House):
    session_id = await begin(shop, budget_usd=BUDGET)
    answers = await asyncio.gather(*(reserve(shop, session_id, "c1") for _ in range(10)))
    assert {(each.status_code, each.json()["max_output_tokens"]) for each in answers} == {(200, 6642)}
    ledger = await shop.services.log.ledger(session_id)
    assert ledger.held_usd <= BUDGET


async def test_a_call_that_a_restart_cut_off_counts_as_spent(shop: House):
    session_id = await begin(shop, budget_usd=1)
    await reserve(shop, session_id, "c1")
    await shop.start_machine(session_id, 2)
    assert (await reserve(shop, session_id, "c1")).status_code == 409
    assert (await reserve(shop, session_id, "c2", generation=2)).status_code == 200
    lost = 0.007 + 32_000 * 14e-6
    assert (await shop.services.log.ledger(session_id)).spent_usd == pytest.approx(lost)


async def test_a_report_settles_what_was_reserved(shop: House):
    session_id = await begin(shop, budget_usd=1)
    await reserve(shop, session_id, "c1")
    tokens = {"input": 4000, "output": 1000, "calls": 1}
    whole: list[dict[str, Any]] = [{"turn": 1, "model": MODEL, "tokens": tokens}]
    for kind, usage in (("progress", []), ("completed", whole)):
        held = (await shop.services.log.ledger(session_id)).held_usd
        assert held > 0, "a heartbeat does not settle it"
        report = {"kind": kind, "generation": 1, "turn": 1, "usage": usage}
        await shop.http.post("/api/worker/reports", json=report, headers=shop.worker(session_id))
    ledger = await shop.services.log.ledger(session_id)
    assert (ledger.held_usd, ledger.spent_usd) == (0, pytest.approx(0.021))


@pytest.mark.parametrize("raised_first", [False, True])
async def test_after_a_raise_a_turn_without_money_goes_on_exactly_once(shop: House, raised_first: bool):
    """Whether the raise comes after the turn's end, or between the refusal and the end."""
    session_id = await begin(shop, budget_usd=BUDGET)
    await exhaust(shop, session_id)
    if raised_first:
        assert await raise_to(shop, session_id, 1, "k") == 202
    await close_turn(shop, session_id)
    assert [await raise_to(shop, session_id, 1, "k") for _ in range(2)] == [202, 202]
    await close_turn(shop, session_id)
    assert await said(shop, session_id) == ["Fix the bug", "The budget is $1.00 now. Go on where you were."]
    assert (await reserve(shop, session_id, "again", calls=5)).status_code == 200
    assert len(await shop.services.log.controls(session_id)) == 1


async def test_a_raise_during_the_work_says_nothing_and_one_that_is_too_small_does_not_go_on(shop: House):
    session_id = await begin(shop, budget_usd=BUDGET)
    assert await raise_to(shop, session_id, 0.05) == 202
    await exhaust(shop, session_id)
    await close_turn(shop, session_id)
    assert await raise_to(shop, session_id, 0.001) == 202
    assert await said(shop, session_id) == ["Fix the bug"]
    assert await raise_to(shop, session_id, -1) == 422


async def test_a_session_shows_its_budget(shop: House):
    session_id = await begin(shop, budget_usd=2)
    path = f"/api/sessions/{session_id}"
    assert (await shop.http.get(path)).json()["budget_usd"] == 2
    await shop.services.log.project(session_id, 5, {"budget_usd": 3.0})
    assert (await shop.http.get(path)).json()["budget_usd"] == 3


async def test_a_model_without_a_price_takes_no_budget(shop: House):
    answer = await shop.http.post("/api/sessions", json={"message": "x", "model": "mystery", "budget_usd": 1})
    assert answer.status_code == 422
    assert "NIGHTSHIFT_PRICES" in answer.json()["detail"]
    session_id = await begin(shop, budget_usd=1)
    message = {"text": "with another", "model": "mystery"}
    assert (await shop.http.post(f"/api/sessions/{session_id}/messages", json=message)).status_code == 422
    answer = await reserve(shop, session_id, "c1", model="mystery")
    assert (answer.status_code, "Nobody knows what mystery costs" in answer.json()["detail"]) == (402, True)


async def test_the_deployments_own_budget_holds_for_sessions_without_one(shop: House):
    settings = replace(shop.services.settings, budget_usd=BUDGET)
    object.__setattr__(shop.services, "settings", settings)
    session_id = await begin(shop)
    await exhaust(shop, session_id)
    assert (await shop.services.log.session(session_id)).request == SessionRequest(message="Fix the bug", model=MODEL)
    assert (await shop.http.get("/api/sessions")).json()["sessions"][0]["budget_usd"] == BUDGET
