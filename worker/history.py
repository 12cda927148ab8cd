"""What the log says, as pure functions over items in order of seq: nothing else decides where a worker stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nightshift.models import Item, ItemKind, ReportKind, Tokens, TurnUsage
from worker.envelope import Envelope

CLOSING = {
    "turn_failed": ReportKind.FAILED,
    "step_limit": ReportKind.FAILED,
    "turn_interrupted": ReportKind.INTERRUPTED,
}
"""Notices that end a turn as a final answer does."""
EMPTY = "empty_response"
"""The notice that nudges a model which said nothing. It carries that call's usage."""


@dataclass(frozen=True)
class Closing:
    """The end of a turn: every user message up to `through_seq` has its answer."""

    kind: ReportKind
    turn: int | None
    through_seq: int
    detail: str = ""


def newest_user(items: Sequence[Item]) -> int:
    return max((item.seq for item in items if item.kind is ItemKind.USER_MESSAGE), default=0)


def last_closing(items: Sequence[Item]) -> Closing | None:
    return max(_closings(items), key=lambda closing: closing.through_seq, default=None)


def answered(items: Sequence[Item]) -> int:
    closing = last_closing(items)
    return closing.through_seq if closing else 0


def open_turn(items: Sequence[Item]) -> int | None:
    """The oldest user message without an answer: it names the turn."""
    done = answered(items)
    return min((i.seq for i in items if i.kind is ItemKind.USER_MESSAGE and i.seq > done), default=None)


def seen(items: Sequence[Item], turn: int) -> int:
    """The newest user message that a model call of this turn had before it."""
    return max((Envelope.of(item).through_seq or 0 for item in items if item.turn == turn), default=0)


def dangling(items: Sequence[Item]) -> list[Item]:
    """Tool calls without an output."""
    outputs = {item.id for item in items if item.kind is ItemKind.TOOL_OUTPUT}
    return [item for item in items if item.kind is ItemKind.TOOL_CALL and output_id(item) not in outputs]


def output_id(call: Item) -> str:
    return f"{call.id}.out"


def steps(items: Sequence[Item], turn: int) -> int:
    """Model calls of this turn, over all restarts."""
    return sum(1 for item in items if item.turn == turn and Envelope.of(item).usage)


def usage(items: Sequence[Item], turn: int) -> list[TurnUsage]:
    """Cumulative tokens of this turn, over all restarts."""
    totals: dict[str, Tokens] = {}
    for item in items:
        envelope = Envelope.of(item)
        if item.turn == turn and envelope.usage and envelope.model:
            totals[envelope.model] = _sum(totals.get(envelope.model, Tokens()), envelope.usage)
    return [TurnUsage(turn=turn, model=model, tokens=tokens) for model, tokens in totals.items()]


def empty_in_a_row(items: Sequence[Item], turn: int) -> int:
    count = 0
    for item in items:
        if item.turn == turn:
            count = count + 1 if item.code == EMPTY else 0
    return count


def model_input(items: Iterable[Item]) -> list[dict[str, Any]]:
    """The conversation as the model is to read it.

    A user message stands where the model first saw it, which is after the response that was under way when it came.
    So the input only ever grows at its end, and the prompt cache holds.
    """
    result: list[dict[str, Any]] = []
    unseen: list[Item] = []
    reasoning: list[Envelope] = []
    for item in items:
        if item.kind is ItemKind.USER_MESSAGE:
            unseen.append(item)
            continue
        if item.kind is ItemKind.TOOL_OUTPUT:
            result.append({"type": "function_call_output", "call_id": item.call_id, "output": item.text})
            continue
        envelope = Envelope.of(item)
        through = envelope.through_seq or 0
        result += [_user(message) for message in unseen if message.seq <= through]
        unseen = [message for message in unseen if message.seq > through]
        if item.kind is ItemKind.NOTICE and (item.code in CLOSING or item.code == EMPTY):
            result.append({"role": "system", "content": f"[{item.code}] {item.text}"})
        elif item.kind is ItemKind.REASONING and envelope.output:
            reasoning.append(envelope)
        elif envelope.output:
            # The API refuses reasoning without what it led to, so half a response (a crash) loses its reasoning.
            result += [r.output for r in reasoning if r.output and r.response_id == envelope.response_id]
            result.append(envelope.output)
            reasoning = []
    return result + [_user(message) for message in unseen]


def _closings(items: Sequence[Item]) -> Iterator[Closing]:
    for item in items:
        through = Envelope.of(item).through_seq or 0
        if item.kind is ItemKind.ASSISTANT_MESSAGE and item.final:
            yield Closing(ReportKind.COMPLETED, item.turn, through)
        elif item.kind is ItemKind.NOTICE and item.code in CLOSING:
            yield Closing(CLOSING[item.code], item.turn, through, item.text[:4000])


def _user(item: Item) -> dict[str, Any]:
    return {"role": "user", "content": item.text}


def _sum(a: Tokens, b: Tokens) -> Tokens:
    return Tokens(**{name: getattr(a, name) + getattr(b, name) for name in Tokens.model_fields})
