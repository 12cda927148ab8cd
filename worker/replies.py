"""A model's reply as items of the log."""

from __future__ import annotations

from typing import Any

from nightshift.models import MAX_TEXT, ItemKind, NewItem
from worker.envelope import Envelope
from worker.history import EMPTY
from worker.model import Reply

NUDGE = "Your last response was empty. Go on with tool calls, or answer the user."


def items(reply: Reply, turn: int, generation: int, seen: int) -> list[NewItem]:
    """One item per output item. The last message is final if nothing is called. The first item carries the usage."""
    calls = any(output["type"] == "function_call" for output in reply.output)
    spoken = [number for number, output in enumerate(reply.output) if _text(output) and output["type"] == "message"]
    result: list[NewItem] = []
    if not calls and not spoken:
        result.append(NewItem(id=f"{turn}.{reply.id}.0", kind=ItemKind.NOTICE, code=EMPTY, level="warning", text=NUDGE))
        result[0].raw = Envelope(response_id=reply.id, through_seq=seen).raw()
    else:
        for number, output in enumerate(reply.output):
            item = _item(f"{turn}.{reply.id}.{number}", output)
            item.final = not calls and number == spoken[-1]
            item.raw = Envelope(output=output, response_id=reply.id, through_seq=seen).raw()
            result.append(item)
    for item in result:
        item.turn, item.generation = turn, generation
    first = Envelope.of(result[0]).model_copy(update={"model": reply.model, "usage": reply.tokens})
    result[0].raw = first.raw()
    return result


def _item(id: str, output: dict[str, Any]) -> NewItem:
    match output["type"]:
        case "message":
            return NewItem(id=id, kind=ItemKind.ASSISTANT_MESSAGE, text=_text(output)[:MAX_TEXT])
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
