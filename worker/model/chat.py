"""Chat Completions, as OpenAI and most other servers have it, from and to Responses items."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, cast
from uuid import uuid4

from nightshift.errors import Retryable
from nightshift.models import Tokens
from worker.model.port import Items, Prompt, Show, Stop
from worker.model.wire import Answer, callable_name, effort, object_of, objects_of, without_strict

PATH = "/chat/completions"
_STOPS = {"length": Stop.LENGTH, "content_filter": Stop.CONTENT_FILTER}


def request(prompt: Prompt, session_id: str, lacks: Collection[str]) -> tuple[dict[str, Any], set[str]]:
    """The body, and what of it the server could do without."""
    optional: dict[str, Any] = {"stream_options": {"include_usage": True}, "prompt_cache_key": session_id}
    if prompt.tools:
        optional["parallel_tool_calls"] = True
    if chosen := effort(prompt.effort, lacks):
        optional["reasoning_effort"] = chosen
    if prompt.max_output_tokens:
        # The new name is refused by many servers, the old one by OpenAI's newer models.
        old = "max_completion_tokens" in lacks
        optional["max_tokens" if old else "max_completion_tokens"] = prompt.max_output_tokens
    messages = [{"role": "system", "content": prompt.instructions}, *_messages(prompt.input)]
    if "reasoning_content" in lacks:
        messages = [{key: value for key, value in each.items() if key != "reasoning_content"} for each in messages]
    tools = without_strict(prompt.tools) if "strict" in lacks else prompt.tools
    body: dict[str, Any] = {"model": prompt.model, "stream": True}
    if tools:
        body["tools"] = [{"type": "function", "function": {k: v for k, v in t.items() if k != "type"}} for t in tools]
    optional = {name: value for name, value in optional.items() if name not in lacks}
    return body | optional | {"messages": messages}, {*optional, "reasoning_content", "strict"} - set(lacks)


def _messages(items: Items) -> Items:
    """One assistant message for what was answered at once, and its tools' outputs right behind it."""
    outputs = {item["call_id"]: item["output"] for item in items if item.get("type") == "function_call_output"}
    result: Items = []
    said: dict[str, Any] = {}

    def flush() -> None:
        nonlocal said
        calls = said.get("tool_calls", [])
        if calls or said.get("content"):
            result.append({"role": "assistant", "content": None} | said)
        images: Items = []
        for call in calls:
            text, shown = _parts(outputs.get(call["id"], ""))
            result.append({"role": "tool", "tool_call_id": call["id"], "content": text})
            images += shown
        if images:  # a tool's message takes text only
            note = {"type": "text", "text": "[images that the tools showed]"}
            result.append({"role": "user", "content": [note, *images]})
        said = {}

    for item in items:
        match item.get("type"):
            case "reasoning":
                if text := "".join(part.get("text") or "" for part in objects_of(item.get("content"))):
                    flush()
                    said["reasoning_content"] = text
            case "function_call":
                function = {"name": callable_name(item["name"]), "arguments": _arguments(item["arguments"])}
                call = {"id": item["call_id"], "type": "function", "function": function}
                said["tool_calls"] = [*said.get("tool_calls", []), call]
            case "function_call_output":
                flush()
            case _ if item.get("role") == "assistant":
                if said.get("tool_calls"):
                    flush()
                said["content"] = (said.get("content") or "") + _parts(item["content"])[0]
            case _ if "role" in item:
                flush()
                text, images = _parts(item["content"])
                # Many servers take a system message at the beginning only.
                content = [{"type": "text", "text": text}, *images] if images else text
                result.append({"role": "user", "content": content})
            case _:  # something of the Responses API's own
                pass
    flush()
    return result


def _parts(content: Any) -> tuple[str, Items]:
    """(text, images) of a message's or an output's content."""
    if isinstance(content, str):
        return content, []
    parts = cast(Items, content)
    texts = [part.get("text") or part.get("refusal") or "" for part in parts]
    images = [part["image_url"] for part in parts if part.get("type") == "input_image"]
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return "\n\n".join(text for text in texts if text), shown


def _arguments(written: str) -> str:
    """Some servers parse them again when they come back, and fail at what the model itself wrote."""
    try:
        return written if isinstance(json.loads(written), dict) else json.dumps({"malformed": written})
    except ValueError:
        return json.dumps({"malformed": written})


class Reading:
    """Takes a completion in as it comes."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._reasoning = self._text = self._refusal = ""
        self._calls: list[dict[str, str]] = []
        self._indices: dict[int, int] = {}
        self._finish: str | None = None
        self._usage: dict[str, Any] = {}
        self.spent: Tokens | None = None
        """What the server counted, also for a completion that failed."""

    def whole(self, body: dict[str, Any]) -> None:
        """A server that does not stream."""
        choices = [object_of(choice) for choice in body["choices"]]
        self.add(body | {"choices": [choice | {"delta": choice.get("message")} for choice in choices]})

    def add(self, event: dict[str, Any]) -> None:
        if usage := object_of(event.get("usage")):
            self._usage = usage
            self.spent = _tokens(usage)
        for choice in objects_of(event.get("choices")):
            delta = object_of(choice.get("delta"))
            self._say(delta)
            for call in objects_of(delta.get("tool_calls")):
                self._call(call)
            self._finish = choice.get("finish_reason") or self._finish

    def _say(self, delta: dict[str, Any]) -> None:
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            self._reasoning += str(thought)
            self._show(0, "reasoning", self._reasoning)
        if text := delta.get("content"):
            self._text += _parts(text)[0]
            self._show(self._before_text, "text", self._text)
        if refusal := delta.get("refusal"):
            self._refusal += str(refusal)
            self._show(self._before_text, "text", self._refusal)

    @property
    def _before_text(self) -> int:
        return 1 if self._reasoning else 0

    def _call(self, part: dict[str, Any]) -> None:
        """Some servers give no index and send every call whole."""
        function, index = object_of(part.get("function")), part.get("index")
        if index is None:
            index = len(self._calls) if part.get("id") or not self._calls else len(self._calls) - 1
        if index not in self._indices:
            self._indices[index] = len(self._calls)
            self._calls.append({"id": "", "name": "", "arguments": ""})
        call = self._calls[self._indices[index]]
        call["id"] = call["id"] or str(part.get("id") or "")
        call["name"] = call["name"] or str(function.get("name") or "")
        arguments = function.get("arguments") or ""
        call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)
        before = self._before_text + bool(self._text or self._refusal)
        self._show(before + self._indices[index], "tool", f"{call['name']} {call['arguments']}")

    def answer(self) -> Answer:
        """Raises Retryable if the completion did not come to its end."""
        if self._finish is None or self._finish in ("error", "abort"):
            raise Retryable("The model server's answer was cut off")
        output: Items = []
        if self._reasoning:
            content = [{"type": "reasoning_text", "text": self._reasoning}]
            output.append({"type": "reasoning", "summary": [], "content": content})
        said: Items = []
        if self._text:
            said.append({"type": "output_text", "text": self._text, "annotations": []})
        if self._refusal:
            said.append({"type": "refusal", "refusal": self._refusal})
        if said:
            output.append({"type": "message", "role": "assistant", "status": "completed", "content": said})
        ids: set[str] = set()
        for call in self._calls:
            id = call["id"] if call["id"] and call["id"] not in ids else f"call_{uuid4().hex[:24]}"
            ids.add(id)
            named = {
                "type": "function_call",
                "call_id": id,
                "name": call["name"],
                "arguments": call["arguments"] or "{}",
            }
            output.append(named | {"status": "completed"})
        return Answer(output, _tokens(self._usage), _STOPS.get(self._finish, Stop.DONE))


def _tokens(usage: dict[str, Any]) -> Tokens:
    """0 where a server leaves it out."""
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = object_of(usage.get("prompt_tokens_details")).get("cached_tokens") or usage.get("prompt_cache_hit_tokens")
    reasoning = object_of(usage.get("completion_tokens_details")).get("reasoning_tokens") or 0
    if reasoning and usage.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning  # some count it apart
    return Tokens(input=prompt, cached=cached or 0, output=completion, reasoning=reasoning, calls=1)
