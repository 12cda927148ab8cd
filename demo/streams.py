"""A finished response as the events that a stream of it has."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import batched, count
from typing import Any

PIECE = 12
"""Characters of one delta."""


def pieces(text: str) -> Iterator[str]:
    return ("".join(part) for part in batched(text, PIECE, strict=False))


def response_events(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """As the Responses API sends them."""
    numbers = count()
    begun: dict[str, Any] = response | {"status": "in_progress", "output": [], "usage": None}
    for event in _events(response, begun):
        yield event | {"sequence_number": next(numbers)}


def _events(response: dict[str, Any], begun: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for number, item in enumerate(response["output"]):
        at = {"item_id": item["id"], "output_index": number}
        yield {"type": "response.output_item.added", "output_index": number, "item": _empty(item)}
        match item["type"]:
            case "message":
                at["content_index"] = 0
                for part in item["content"]:
                    yield {"type": "response.content_part.added", **at, "part": part | {"text": ""}}
                    for delta in pieces(part["text"]):
                        yield {"type": "response.output_text.delta", **at, "delta": delta, "logprobs": []}
                    yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
                    yield {"type": "response.content_part.done", **at, "part": part}
            case "reasoning":
                for index, part in enumerate(item["summary"]):
                    here = at | {"summary_index": index}
                    empty = part | {"text": ""}
                    yield {"type": "response.reasoning_summary_part.added", **here, "part": empty}
                    for delta in pieces(part["text"]):
                        yield {"type": "response.reasoning_summary_text.delta", **here, "delta": delta}
                    yield {"type": "response.reasoning_summary_text.done", **here, "text": part["text"]}
                    yield {"type": "response.reasoning_summary_part.done", **here, "part": part}
            case _:
                for delta in pieces(item["arguments"]):
                    yield {"type": "response.function_call_arguments.delta", **at, "delta": delta}
                yield {"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]}
        yield {"type": "response.output_item.done", "output_index": number, "item": item}
    yield {"type": "response.completed", "response": response}


_BEGUN: dict[str, dict[str, Any]] = {
    "message": {"content": []},
    "reasoning": {"summary": []},
    "function_call": {"arguments": ""},
}


def _empty(item: dict[str, Any]) -> dict[str, Any]:
    """As it begins."""
    return item | {"status": "in_progress"} | _BEGUN[item["type"]]


def chat_events(completion: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """As Chat Completions sends them, usage last."""
    (choice,) = completion["choices"]
    message = choice["message"]
    frame = {name: completion[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None}

    yield chunk({"role": "assistant", "content": ""})
    for field in ("reasoning_content", "content"):
        for piece in pieces(message.get(field) or ""):
            yield chunk({field: piece})
    for index, call in enumerate(message.get("tool_calls", [])):
        function = call["function"]
        yield chunk({"tool_calls": [call | {"index": index, "function": function | {"arguments": ""}}]})
        for piece in pieces(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    yield frame | {"choices": [], "usage": completion["usage"]}
