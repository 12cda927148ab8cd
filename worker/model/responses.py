"""OpenAI's Responses API, without server-side state: reasoning travels encrypted in the log."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from nightshift.errors import Retryable
from nightshift.models import DraftKind, Tokens
from worker.model import faults
from worker.model.port import Items, Prompt, Show, Stop
from worker.model.wire import Answer, callable_name, effort, object_of, objects_of, without_strict

PATH = "/responses"
_DELTAS: dict[str, DraftKind] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_text.delta": "reasoning",
    "response.function_call_arguments.delta": "tool",
}


def request(prompt: Prompt, session_id: str, lacks: Collection[str]) -> tuple[dict[str, Any], set[str]]:
    """The body, and what of it the server could do without."""
    optional: dict[str, Any] = {
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "prompt_cache_key": session_id,
    }
    reasoning: dict[str, Any] = {"reasoning.summary": "auto", "reasoning.effort": effort(prompt.effort, lacks)}
    kept = {
        name: value for name, value in reasoning.items() if name not in lacks and value and "reasoning" not in lacks
    }
    if kept:
        optional["reasoning"] = {name.removeprefix("reasoning."): value for name, value in kept.items()}
    if prompt.tools:
        optional["parallel_tool_calls"] = True
    body: dict[str, Any] = {
        "model": prompt.model,
        "instructions": prompt.instructions,
        "tools": without_strict(prompt.tools) if "strict" in lacks else prompt.tools,
        "stream": True,
    }
    if prompt.max_output_tokens:
        body["max_output_tokens"] = prompt.max_output_tokens
    optional = {name: value for name, value in optional.items() if name not in lacks}
    # What grows comes last: a request begins with the bytes of the one before.
    return body | optional | {"input": _input(prompt.input)}, {*optional, *kept, "strict"} - set(lacks)


def _input(items: Items) -> Items:
    """Reasoning that another API's server gave has no name here: this one would refuse it."""
    result: Items = []
    for item in items:
        kind = item.get("type")
        if kind == "reasoning" and not (item.get("id") or item.get("encrypted_content")):
            continue
        result.append(item | {"name": callable_name(item["name"])} if kind == "function_call" else item)
    return result


class Reading:
    """Takes a response in as it comes."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._texts: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._done: dict[int, dict[str, Any]] = {}
        self._response: dict[str, Any] | None = None
        self.spent: Tokens | None = None
        """What the server counted, also for a response that failed."""

    def whole(self, body: dict[str, Any]) -> None:
        """A server that does not stream."""
        self.add({"type": f"response.{body.get('status') or 'completed'}", "response": body})

    def add(self, event: dict[str, Any]) -> None:
        """Raises Retryable or ModelFault when the server breaks off."""
        kind = event.get("type")
        number = self._number(event)
        if draft := _DELTAS.get(str(kind)):
            self._texts[number] = self._texts.get(number, "") + str(event.get("delta") or "")
            self._show(number, draft, self._texts[number])
            return
        match kind:
            case "response.output_item.added":
                item = object_of(event.get("item"))
                if item.get("type") == "function_call":
                    self._texts[number] = f"{item.get('name')} "
                    self._show(number, "tool", self._texts[number])
            case "response.reasoning_summary_part.added" if self._texts.get(number):
                self._texts[number] += "\n\n"
            case "response.output_item.done":
                self._done[number] = object_of(event.get("item"))
            case "response.completed" | "response.incomplete":
                self._response = object_of(event["response"])
            case "response.failed" | "response.cancelled":
                response = object_of(event.get("response"))
                self.spent = _tokens(response.get("usage")) if response.get("usage") else None
                raise faults.of_body(response.get("error"))
            case "error":
                raise faults.of_body(event.get("error") or event)
            case _:  # of no use to us, or newer than we are
                pass

    def _number(self, event: dict[str, Any]) -> int:
        """Of the output item. Some servers count them by their ids alone."""
        if (index := event.get("output_index")) is not None:
            return int(index)
        id = event.get("item_id") or object_of(event.get("item")).get("id") or ""
        return self._numbers.setdefault(id, len(self._numbers)) if id else 0

    def answer(self) -> Answer:
        """Raises Retryable if the response did not come to its end."""
        if self._response is None:
            raise Retryable("The model server's answer was cut off")
        output = objects_of(self._response["output"]) or [self._done[n] for n in sorted(self._done)]
        stop = Stop.DONE
        if self._response.get("status") == "incomplete":
            why = object_of(self._response.get("incomplete_details")).get("reason")
            stop = Stop.CONTENT_FILTER if why == "content_filter" else Stop.LENGTH
        if any(item.get("status") == "incomplete" for item in output) and stop is Stop.DONE:
            stop = Stop.LENGTH
        return Answer(output, _tokens(self._response.get("usage")), stop)


def _tokens(usage: Any) -> Tokens:
    """0 where a compatible server leaves it out."""
    counts = object_of(usage)
    return Tokens(
        input=counts.get("input_tokens") or 0,
        cached=object_of(counts.get("input_tokens_details")).get("cached_tokens") or 0,
        output=counts.get("output_tokens") or 0,
        reasoning=object_of(counts.get("output_tokens_details")).get("reasoning_tokens") or 0,
        calls=1,
    )
