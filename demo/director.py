"""Reads a Responses request and tells the scripted model's next line. Pure: the same request, the same line."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import uuid4

from demo.script import SCENES, STRANGE, Call, shell

AGAIN = "interrupted by a restart"
"""An output that begins so did not happen: the call is made again."""
CLOSED = re.compile(r"\[(?!empty_response|response_cut|going_in_circles|context_summary)\w+\]")
"""How the worker tells the model that a turn ended without an answer."""


@dataclass(frozen=True)
class Part:
    """What one user message asks for. `answer` None: the outputs of its calls."""

    calls: list[Call]
    answer: str | None


class Conversation:
    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        given = body.get("input", [])
        self._input: list[dict[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else given

    def problem(self) -> str | None:
        """What the real API would refuse."""
        calls = {i["call_id"] for i in self._input if i.get("type") == "function_call"}
        outputs = {i["call_id"] for i in self._input if i.get("type") == "function_call_output"}
        if missing := calls - outputs:
            return f"No tool output found for function call {min(missing)}."
        if unasked := outputs - calls:
            return f"No tool call found for function call output with call_id {min(unasked)}."
        led_to = ("function_call", "message", "reasoning")
        for item, following in pairwise([*self._input, {}]):
            if item.get("type") == "reasoning" and following.get("type") not in led_to:
                return f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
            if item.get("type") == "reasoning" and not str(item.get("encrypted_content")).startswith("c2NyaXB0ZWQ"):
                return f"The encrypted content of item {item.get('id')} could not be verified."
        return None

    def open(self) -> list[dict[str, Any]]:
        """What came after the last answer."""
        start = 0
        for number, item in enumerate(self._input):
            closed = item.get("role") == "system" and CLOSED.match(_text(item))
            if closed or item.get("role") == "assistant":
                start = number + 1
        return self._input[start:]

    def fill(self, value: Any) -> Any:
        """The value with its placeholders replaced by what this session is about."""
        if isinstance(value, dict):
            return {key: self.fill(part) for key, part in value.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [self.fill(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
        if value == "{number}":
            return int(self._facts()["number"])
        if isinstance(value, str):
            for name, fact in self._facts().items():
                value = value.replace(f"{{{name}}}", fact)
        return value

    def _facts(self) -> dict[str, str]:
        instructions = str(self._body.get("instructions", ""))
        said = "\n".join(_text(item) for item in self._input if item.get("role") == "user")
        printed = "\n".join(str(i["output"]) for i in self._input if i.get("type") == "function_call_output")
        named = re.search(r"([\w.-]+/[\w.-]+)(?:#|/issues/)\d+", said)
        concerns = re.search(r"task concerns ([\w.-]+/[\w.-]*\w)", instructions)
        repository = named[1] if named else concerns[1] if concerns else "acme/tidytime"
        return {
            "repository": repository,
            "number": _last(r"(?i)(?:#|/issues/|issue )(\d+)", said, "1"),
            "session": _last(r"nightshift/([\w.-]*\w)", instructions, "demo"),
            "folder": _last(r"cloned to (\S+)/<owner>/<name>", instructions, ".") + "/" + repository,
            "pull_request": _last(r"pull request #\d+: (\S+)", printed, "none was opened"),
        }

    def usage(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        """Four characters a token. Cached is what the last request of this conversation had too."""
        fixed = _size([self._body.get("instructions"), self._body.get("tools")])
        own = [n for n, item in enumerate(self._input) if item.get("type") in ("reasoning", "function_call", "message")]
        cached = (fixed + _size(self._input[: own[-1]])) // 128 * 128 if own else 0
        thought = _size([item for item in output if item["type"] == "reasoning"]) if output else 0
        total_in, total_out = fixed + _size(self._input), _size(output)
        return {
            "input_tokens": total_in,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": total_in - cached},
            "output_tokens": total_out,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": total_in + total_out,
        }


def next_output(conversation: Conversation) -> list[dict[str, Any]]:
    """The output items of the next response: a thought and a call, or the answer."""
    turn = conversation.open()
    outputs = [str(item["output"]) for item in turn if item.get("type") == "function_call_output"]
    done = [output for output in outputs if not output.startswith(AGAIN)]
    parts = [_plan(_text(item)) for item in turn if item.get("role") == "user"]
    calls = [call for part in parts for call in part.calls]
    if len(done) < len(calls):
        call = calls[len(done)]
        arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(conversation.fill(call.arguments))
        thought = [_reasoning(call.thought)] if call.thought else []
        return [*thought, _function_call(call.name, arguments)]
    answers: list[str] = []
    for part in parts:
        own, done = done[: len(part.calls)], done[len(part.calls) :]
        answers.append("\n".join(own) if part.answer is None else conversation.fill(part.answer))
    return [_message("\n\n".join(answers) or STRANGE)]


def _plan(message: str) -> Part:
    lines = [line for line in message.splitlines() if line.startswith("!")]
    if lines:
        said = [line.removeprefix("!say ") for line in lines if line.startswith("!say ")]
        calls = [call for line in lines if (call := _directive(line))]
        return Part(calls, "\n".join(said) if said else None)
    for scene in SCENES:
        if scene.match.search(message):
            return Part(list(scene.calls), scene.answer)
    return Part([], STRANGE)


def _directive(line: str) -> Call | None:
    word, _, rest = line.partition(" ")
    match word:
        case "!shell":
            return shell(rest)
        case "!sleep":
            return shell(f"sleep {rest}")
        case "!call":
            name, _, arguments = rest.partition(" ")
            return Call(name, arguments)
        case _:
            return None


def _reasoning(thought: str) -> dict[str, Any]:
    secret = base64.b64encode(f"scripted: {thought}".encode()).decode()
    summary = [{"type": "summary_text", "text": thought}]
    return {"id": f"rs_{uuid4().hex}", "type": "reasoning", "summary": summary, "encrypted_content": secret}


def _function_call(name: str, arguments: str) -> dict[str, Any]:
    ids = {"id": f"fc_{uuid4().hex}", "call_id": f"call_{uuid4().hex[:24]}"}
    return {**ids, "type": "function_call", "status": "completed", "name": name, "arguments": arguments}


def _message(text: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }


def _text(item: dict[str, Any]) -> str:
    content = item.get("content") or ""
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def _last(pattern: str, text: str, otherwise: str) -> str:
    found = re.findall(pattern, text)
    return found[-1] if found else otherwise


def _size(value: Any) -> int:
    return -(-len(json.dumps(value, ensure_ascii=False)) // 4)
