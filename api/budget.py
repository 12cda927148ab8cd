"""Keeping sessions within their budgets: reservations, what settles them, and going on after a raise."""

from __future__ import annotations

from nightshift import budget
from nightshift.budget import Call, Ledger, usd
from nightshift.errors import BudgetExhausted, StaleGeneration, Unprocessable
from nightshift.log import Log
from nightshift.models import ControlKind, Grant, Item, ItemKind, NewItem, Reservation, Stream, Tokens
from nightshift.pricing import ModelPrice, known_cost
from nightshift.services import Services
from nightshift.tokens import WorkerIdentity

EXHAUSTED = "budget_exhausted"
"""Code of the worker's notice that ends a turn for want of money."""
_ALL = 10_000
_TAIL = 50
"""Items at the log's end among which the end of the last turn is looked for."""


async def reserve(services: Services, worker: WorkerIdentity, wanted: Reservation) -> Grant:
    """Raises BudgetExhausted, with words for the user."""
    log, session_id = services.log, worker.session_id
    session = await log.session(session_id)
    if session.generation != worker.generation:
        raise StaleGeneration(f"Generation {worker.generation} was replaced by a newer one; this worker must exit")
    await log.record_usage(session_id, wanted.usage)
    limit, tokens = None, 0

    async def change(ledger: Ledger) -> Ledger:
        nonlocal limit, tokens
        told = await _told(log, session_id, ledger)
        limit = told.limit_usd or session.request.budget_usd or services.settings.budget_usd
        if limit is None:
            return ledger
        call = _call(services, worker, wanted, limit)
        new, tokens = budget.reserved(await _settled(services, session_id, told), session_id, limit, call)
        return new

    ledger = await log.change_ledger(session_id, change)
    if limit is None:
        return Grant()
    if not tokens:
        spent = f"{usd(ledger.spent_usd)} of {usd(limit)} are spent"
        raise BudgetExhausted(f"The budget does not pay for another call of {wanted.model}: {spent}")
    remaining = max(0.0, limit - ledger.spent_usd - ledger.held_usd)
    return Grant(max_output_tokens=tokens, remaining_usd=round(remaining, 6))


async def settle(services: Services, session_id: str) -> None:
    """Put what was reported into the ledger, if there is one."""

    async def change(ledger: Ledger) -> Ledger:
        return await _settled(services, session_id, ledger) if ledger.accounts else ledger

    await services.log.change_ledger(session_id, change)


async def go_on(services: Services, session_id: str) -> Item | None:
    """Say in the user's name that a turn which ended for want of money goes on, if the budget was raised since.

    Called after a raise is stored, and after the end of a turn is: whichever comes second finds the other.
    """
    log = services.log
    ledger = await log.ledger(session_id)
    controls = await log.controls(session_id, ledger.control_seq, _ALL)
    raises = [each for each in controls if each.kind is ControlKind.BUDGET]
    if not raises or (raises[-1].budget_usd or 0) <= ledger.spent_usd:
        return None
    last_seq = await log.last_seq(session_id, Stream.ITEM)
    tail = await log.items_before(session_id, last_seq + 1, _TAIL)
    said = [item for item in tail if item.code == EXHAUSTED or item.kind is ItemKind.USER_MESSAGE]
    if not said or said[-1].code != EXHAUSTED:
        return None
    text = f"The budget is {usd(raises[-1].budget_usd or 0)} now. Go on where you were."
    id = f"{raises[-1].id}.go-on"[-128:]
    return await log.append_item(session_id, NewItem(id=id, kind=ItemKind.USER_MESSAGE, text=text))


def must_be_priced(services: Services, model: str | None, budget_usd: float | None) -> None:
    """Raises Unprocessable: a model that has no price cannot be kept within a budget."""
    limit = budget_usd or services.settings.budget_usd
    if limit is not None:
        try:
            _price(services, model or services.settings.model, limit)
        except BudgetExhausted as refusal:
            raise Unprocessable(str(refusal), refusal.code, **refusal.values) from None


async def _told(log: Log, session_id: str, ledger: Ledger) -> Ledger:
    """With the controls that came since."""
    for control in await log.controls(session_id, ledger.control_seq, _ALL):
        limit = control.budget_usd if control.kind is ControlKind.BUDGET else ledger.limit_usd
        ledger = ledger.model_copy(update={"limit_usd": limit, "control_seq": control.seq})
    return ledger


async def _settled(services: Services, session_id: str, ledger: Ledger) -> Ledger:
    usage = await services.log.usage(session_id)
    calls = sum(entry.tokens.calls for entry in usage)
    return budget.settled(ledger, session_id, known_cost(usage, services.prices), calls)


def _call(services: Services, worker: WorkerIdentity, wanted: Reservation, limit: float) -> Call:
    price = _price(services, wanted.model, limit)
    return Call(
        id=wanted.id,
        generation=worker.generation,
        input_usd=price.of(Tokens(input=wanted.input_tokens), above=wanted.input_tokens),
        output_usd=price.of(Tokens(output=1), above=wanted.input_tokens),
        max_output_tokens=wanted.max_output_tokens,
    )


def _price(services: Services, model: str, limit: float) -> ModelPrice:
    if (price := services.prices.find(model)) is not None:
        return price
    raise BudgetExhausted(
        f"Nobody knows what {model} costs, so it cannot be kept within a budget of {usd(limit)}. Choose a model of the"
        " price table, or lay its price over the table with NIGHTSHIFT_PRICES (0 if it costs nothing)",
        "unpriced-model",
        model=model,
    )
