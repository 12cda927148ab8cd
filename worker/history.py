"""What the log says, as pure functions over items in order of seq: nothing else decides where a worker stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nightshift.models import EFFORTS, Approval, Effort, Item, ItemKind, ReportKind, Tokens, TurnUsage
from worker.envelope import Envelope
from worker.model import images
from worker.model.port import FAULT_CODES

CLOSING = {
    "turn_failed": ReportKind.FAILED,
    "step_limit": ReportKind.FAILED,
    "turn_interrupted": ReportKind.INTERRUPTED,
    **dict.fromkeys(FAULT_CODES, ReportKind.FAILED),
    "approval_needed": ReportKind.COMPLETED,
}
"""Notices that end a turn as a final answer does."""
APPROVAL_USED = "approval_used"
"""The notice that a risky action is being done, before it is: the user's yes is used up."""
EMPTY = "empty_response"
"""The notice that nudges a model which said nothing. It carries that call's usage."""
CUT = "response_cut"
"""The notice that has a model go on which was cut off at its length limit. It carries that call's usage if no text
came."""
NUDGES = (EMPTY, CUT)
HARDER = re.compile(r"\bultrathink\b", re.IGNORECASE)
"""In a message: think as hard as you can."""


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


def used_id(call_id: str) -> str:
    return f"{call_id}.used"


def awaits_yes(items: Sequence[Item]) -> Approval | None:
    """What the newest tool calls asked the user for, if nobody has said anything since."""
    for item in reversed(items):
        if item.kind is ItemKind.TOOL_OUTPUT and item.effect and item.effect.approval:
            return item.effect.approval
        if item.kind is ItemKind.USER_MESSAGE or item.code in CLOSING or Envelope.of(item).response_id:
            return None
    return None


def unused_yes(items: Sequence[Item], approval: Approval) -> list[str]:
    """The tool calls (their items' ids) that asked for exactly this, were approved and have not been made since."""
    ids = {item.id for item in items}
    asked = {item.id for item in items if item.effect and item.effect.approval == approval}
    said = {item.approves for item in items if item.kind is ItemKind.USER_MESSAGE and item.approves}
    return [call_id for call_id in sorted(said) if f"{call_id}.out" in asked and used_id(call_id) not in ids]


def steps(items: Sequence[Item], turn: int) -> int:
    """Model calls of this turn, over all restarts."""
    return sum(1 for item in items if item.turn == turn and Envelope.of(item).usage)


def usage(items: Sequence[Item], turn: int) -> list[TurnUsage]:
    """Cumulative tokens of this turn, over all restarts."""
    totals: dict[tuple[str, int], Tokens] = {}
    for item in items:
        envelope = Envelope.of(item)
        if item.turn == turn and envelope.usage and envelope.model:
            key = envelope.model, envelope.above or 0
            totals[key] = totals.get(key, Tokens()) + envelope.usage
    return [TurnUsage(turn=turn, model=model, above=above, tokens=tokens) for (model, above), tokens in totals.items()]


def nudged_in_a_row(items: Sequence[Item], turn: int, code: str) -> int:
    """How often the model of this turn got this notice since it last called a tool."""
    count = 0
    for item in reversed([item for item in items if item.turn == turn]):
        if item.code == code:
            count += 1
        elif item.kind not in (ItemKind.REASONING, ItemKind.ASSISTANT_MESSAGE):
            break
    return count


def chosen_model(items: Iterable[Item], otherwise: str) -> str:
    """The newest that a user's message asked for, else the session's."""
    return next((item.model for item in reversed(list(items)) if item.model), otherwise)


def chosen_effort(items: Iterable[Item], turn: int, otherwise: Effort | None) -> Effort | None:
    """The newest that a message of this turn asked for, else the session's."""
    messages = [item for item in items if item.kind is ItemKind.USER_MESSAGE and item.seq >= turn]
    if any(HARDER.search(message.text) for message in messages):
        return EFFORTS[-1]
    asked: list[Effort] = [message.effort for message in messages if message.effort]
    return asked[-1] if asked else otherwise


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
            result.append({"type": "function_call_output", "call_id": item.call_id, "output": _content(item)})
            continue
        envelope = Envelope.of(item)
        through = envelope.through_seq or 0
        result += [_user(message) for message in unseen if message.seq <= through]
        unseen = [message for message in unseen if message.seq > through]
        if item.kind is ItemKind.NOTICE and (item.code in CLOSING or item.code in NUDGES):
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
    return {"role": "user", "content": _content(item)}


def _content(item: Item) -> str | list[dict[str, Any]]:
    """Text, and what files go with it."""
    yes = f"\n\n[approved: make the call {item.approves} again, exactly as it was, once]" if item.approves else ""
    text = item.text + yes
    if not item.files:
        return text
    return [{"type": "input_text", "text": text}, *map(images.part, item.files)]
