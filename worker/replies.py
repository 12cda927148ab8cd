"""A model's reply as items of the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nightshift.models import MAX_TEXT, ItemKind, NewItem
from worker.envelope import Envelope
from worker.history import CUT, EMPTY
from worker.model import Reply, Stop

NUDGE = "Your last response was empty. Go on with tool calls, or answer the user."
SHORTER = (
    "Your last response was cut off at its length limit. No tool that it called was run. Go on where it ends, in"
    " smaller steps: write a long file in several pieces."
)
FILTERED = "The model server's content filter cut the answer off. Put it otherwise, or send a message to try again."


def prefix(turn: int, reply_id: str) -> str:
    """What the ids of a reply's items begin with; the number of the output item follows."""
    return f"{turn}.{reply_id}."


def items(reply: Reply, turn: int, generation: int, seen: int, price_steps: Iterable[int] = ()) -> list[NewItem]:
    """One item per output item, and a notice where the reply stopped short. The last message is final if nothing is
    called. The first item carries the usage, and which price step it was above."""
    kept = _kept(reply)
    calls = any(output["type"] == "function_call" for output in kept.values())
    spoken = [number for number, output in kept.items() if output["type"] == "message"]
    result: list[NewItem] = []
    for number, output in kept.items():
        item = _item(f"{prefix(turn, reply.id)}{number}", output)
        item.final = reply.stop is Stop.DONE and not calls and number == spoken[-1]
        item.raw = Envelope(output=output, response_id=reply.id, through_seq=seen).raw()
        result.append(item)
    if notice := _notice(reply, bool(kept)):
        code, level, text = notice
        item = NewItem(id=f"{prefix(turn, reply.id)}{code}", kind=ItemKind.NOTICE, code=code, text=text)
        item.level = "error" if level == "error" else "warning"
        item.raw = Envelope(response_id=reply.id, through_seq=seen).raw()
        result.append(item)
    for item in result:
        item.turn, item.generation = turn, generation
    result[0].raw = (result[0].raw or {}) | bill(reply, price_steps).raw()
    return result


def bill(reply: Reply, price_steps: Iterable[int]) -> Envelope:
    """What the reply has cost, and which price step it was above."""
    per_call = reply.tokens.input / max(1, reply.tokens.calls)
    above = max((step for step in price_steps if step < per_call), default=None)
    return Envelope(model=reply.model, usage=reply.tokens, above=above)


def spoken(reply: Reply) -> str:
    """All of its text, and nothing of what it calls."""
    return "\n\n".join(filter(None, (_text(output) for output in reply.output if output["type"] == "message")))


def _kept(reply: Reply) -> dict[int, dict[str, Any]]:
    """What of the output is good for anything, by number.

    Of a reply that was cut off only its text: a call may lack its end and still parse, so none of them is made. What
    the content filter left over was not meant to be read.
    """
    said = {n: output for n, output in enumerate(reply.output) if output["type"] != "message" or _text(output)}
    match reply.stop:
        case Stop.CONTENT_FILTER:
            return {}
        case Stop.LENGTH:
            said = {n: output for n, output in said.items() if output["type"] in ("message", "reasoning")}
            return said if any(output["type"] == "message" for output in said.values()) else {}
        case Stop.DONE:
            return said if any(output["type"] in ("message", "function_call") for output in said.values()) else {}


def _notice(reply: Reply, kept: bool) -> tuple[str, str, str] | None:
    """(code, level, text)"""
    match reply.stop:
        case Stop.CONTENT_FILTER:
            return "content_filter", "error", FILTERED
        case Stop.LENGTH:
            return CUT, "warning", SHORTER
        case Stop.DONE:
            return None if kept else (EMPTY, "warning", NUDGE)


def _item(id: str, output: dict[str, Any]) -> NewItem:
    match output["type"]:
        case "message":
            refused = any(part.get("type") == "refusal" for part in output["content"])
            code = "refusal" if refused else None
            return NewItem(id=id, kind=ItemKind.ASSISTANT_MESSAGE, text=_text(output)[:MAX_TEXT], code=code)
        case "function_call":
            return NewItem(
                id=id,
                kind=ItemKind.TOOL_CALL,
                call_id=output["call_id"],
                name=output["name"],
                arguments=output["arguments"][:MAX_TEXT],
            )
        case kind:  # reasoning, or something of the server's own that goes back to it as it came
            return NewItem(id=id, kind=ItemKind.REASONING, name=kind, text=_text(output)[:MAX_TEXT])


def _text(output: dict[str, Any]) -> str:
    """Of a message (or its refusal), or the summary of reasoning."""
    parts: list[dict[str, Any]] = output.get("content") or output.get("summary") or []
    return "\n\n".join(part.get("text") or part.get("refusal") or "" for part in parts).strip()
