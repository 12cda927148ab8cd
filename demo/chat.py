"""The scripted model's Chat Completions: a request as the director reads it, its response as this API has it."""

from __future__ import annotations

import time
from typing import Any, cast
from uuid import uuid4


def as_response_request(body: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError for what the real API would refuse."""
    system, *messages = cast(list[dict[str, Any]], body["messages"])
    if system["role"] != "system" or any(message["role"] == "system" for message in messages):
        raise ValueError("One system message is expected, at the beginning.")
    given: list[dict[str, Any]] = []
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise ValueError("A message with role 'tool' must follow a message with 'tool_calls'.")
            waiting.remove(message["tool_call_id"])
            output = {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
            given.append(output)
            continue
        if waiting:
            raise ValueError(f"An assistant message with 'tool_calls' must be followed by outputs: {min(waiting)}.")
        waiting = {call["id"] for call in message.get("tool_calls", [])}
        given += _items(message)
    if waiting:
        raise ValueError(f"An assistant message with 'tool_calls' must be followed by outputs: {min(waiting)}.")
    tools = [tool["function"] for tool in body.get("tools", [])]
    return {"model": body["model"], "instructions": system["content"], "input": given, "tools": tools}


def _items(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What was said, then what was called. The worker's notes come as the user's: this API knows no others later."""
    items: list[dict[str, Any]] = []
    content = message["content"]
    if isinstance(content, list):
        parts = cast(list[dict[str, Any]], content)
        content = "\n".join(part.get("text", "") for part in parts)
    if content:
        role = "system" if content.startswith("[") and message["role"] == "user" else message["role"]
        items.append({"role": role, "content": content} | ({"type": "message"} if role == "assistant" else {}))
    for call in message.get("tool_calls", []):
        items.append({"type": "function_call", "call_id": call["id"], **call["function"]})
    return items


def as_completion(response: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: list[dict[str, Any]] = []
    for item in response["output"]:
        match item["type"]:
            case "reasoning":
                message["reasoning_content"] = "".join(part["text"] for part in item["summary"])
            case "message":
                message["content"] = "".join(part["text"] for part in item["content"])
            case _:
                function = {"name": item["name"], "arguments": item["arguments"]}
                calls.append({"id": item["call_id"], "type": "function", "function": function})
    if calls:
        message["tool_calls"] = calls
    usage = response["usage"]
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": response["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {
            "prompt_tokens": usage["input_tokens"],
            "prompt_tokens_details": {"cached_tokens": usage["input_tokens_details"]["cached_tokens"]},
            "completion_tokens": usage["output_tokens"],
            "completion_tokens_details": usage["output_tokens_details"],
            "total_tokens": usage["total_tokens"],
        },
    }
