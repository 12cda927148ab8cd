"""What sessions may spend: one ledger, and pure rules over it.

Before each model call the worker reserves what it may cost. The ledger adds up what was reported and what is reserved,
so that sessions that spend from one budget at the same time cannot pass it together.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from nightshift.models import Model

LEAST_OUTPUT = 1000
"""Tokens of an answer that the rest of a budget must pay for; less is no use to anybody."""


class Hold(Model):
    """A reservation that is open: its call is under way, or was cut off."""

    id: str
    generation: int
    usd: float
    calls: int
    """Model calls that had been reported before it."""


class Account(Model):
    """One session's part."""

    spent_usd: float = 0.0
    """As reported."""
    calls: int = 0
    lost_usd: float = 0.0
    """Held for calls that a restart of the machine cut off: they may have cost it, and nobody will ever tell."""
    hold: Hold | None = None


class Ledger(Model):
    limit_usd: float | None = None
    """Set on the way; None: what the session began with."""
    control_seq: int = 0
    """The controls of the log up to here are in `limit_usd`."""
    accounts: dict[str, Account] = Field(default_factory=dict[str, Account])
    """By session."""

    @property
    def spent_usd(self) -> float:
        return sum(account.spent_usd + account.lost_usd for account in self.accounts.values())

    @property
    def held_usd(self) -> float:
        return sum(account.hold.usd for account in self.accounts.values() if account.hold)


@dataclass(frozen=True)
class Call:
    """A model call that is about to be made, and what it may cost."""

    id: str
    generation: int
    input_usd: float
    output_usd: float
    """Of one token."""
    max_output_tokens: int


def settled(ledger: Ledger, session_id: str, spent_usd: float, calls: int) -> Ledger:
    """With what a session reported in all. Reports may come twice or late: they only ever raise the sum."""
    old = ledger.accounts.get(session_id, Account())
    calls = max(old.calls, calls)
    hold = old.hold if old.hold and calls <= old.hold.calls else None
    return _with(ledger, session_id, old, spent_usd=max(old.spent_usd, spent_usd), calls=calls, hold=hold)


def reserved(ledger: Ledger, session_id: str, limit_usd: float, call: Call) -> tuple[Ledger, int]:
    """(the ledger with the call's reservation instead of the session's last one, output tokens that it pays for).

    No output tokens: the budget does not pay for the call, and the ledger is as it was.
    """
    old = ledger.accounts.get(session_id, Account())
    lost = old.lost_usd + (old.hold.usd if old.hold and old.hold.generation < call.generation else 0.0)
    freed = _with(ledger, session_id, old, lost_usd=lost, hold=None)
    rest = limit_usd - freed.spent_usd - freed.held_usd - call.input_usd
    output = call.max_output_tokens
    if rest < call.output_usd * output:
        output = max(0, int(rest / call.output_usd))
    if rest < 0 or output < min(LEAST_OUTPUT, call.max_output_tokens):
        return ledger, 0
    usd = call.input_usd + output * call.output_usd
    hold = Hold(id=call.id, generation=call.generation, usd=usd, calls=old.calls)
    return _with(freed, session_id, old, lost_usd=lost, hold=hold), output


def usd(amount: float) -> str:
    """For people: cents, and finer where cents say nothing."""
    return f"${amount:.2f}" if amount >= 0.1 or amount == 0 else f"${amount:.4f}"


def _with(ledger: Ledger, session_id: str, account: Account, **changes: object) -> Ledger:
    accounts = ledger.accounts | {session_id: account.model_copy(update=changes)}
    return ledger.model_copy(update={"accounts": accounts})
