"""A model server that answers at once: as many shell calls as asked for, then the end. It keeps what it was sent.

It speaks as much of the Responses and the Chat Completions API as agents need that never fail.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any, Self

SHELLS = ("shell", "bash", "terminal")
"""What agents call the tool."""


@dataclass(frozen=True)
class Asked:
    at: float
    body: bytes


class Answers:
    def __init__(self, steps: int, last_command: str | None = None) -> None:
        """`last_command` instead of a last message ends agents that know no other end."""
        self.asked: list[Asked] = []
        self.steps = steps
        self.at_third: Callable[[], None] = lambda: None
        """Called while the agent waits for its third answer."""
        self.before_end: Callable[[], None] = lambda: None
        """Called when the agent has done all steps and waits for the last one."""
        self._last_command = last_command
        self._tool = ""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kind, answer = owner.answer(self.path, body)
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._serving = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()

    def answer(self, path: str, body: bytes) -> tuple[str, bytes]:
        """(content type, body)."""
        self.asked.append(Asked(time.time(), body))
        if not self._tool:
            tools = json.loads(body)["tools"]
            names = [tool.get("name") or tool["function"]["name"] for tool in tools]
            self._tool = next(name for name in SHELLS if name in names)
        number = len(self.asked)
        # Half a kilobyte in no time, never the same: agents look whether they are stuck.
        command: str | None = f"seq {number} {number + 150}"
        if number == 3:
            self.at_third()
        if number > self.steps:
            command = self._last_command
            self.before_end()
        if path.endswith("/responses"):
            return _response(number, self._tool, command, stream=b'"stream":true' in body.replace(b" ", b""))
        return _chat(number, self._tool, command)


def cached(asked: list[Asked]) -> float:
    """Share of the prompts, from the fourth on, that was the beginning of the prompt before."""
    prompts = [_prompt(each.body) for each in asked]
    pairs = list(pairwise(prompts))[2:]
    return sum(_common(before, now) for before, now in pairs) / sum(len(now) for _, now in pairs)


def _prompt(body: bytes) -> str:
    """In the order in which model servers read it."""
    request: dict[str, Any] = json.loads(body)
    parts = [request.get("tools"), request.get("instructions"), *(request.get("input") or request["messages"])]
    return "".join(json.dumps(part) for part in parts)


def _common(a: str, b: str) -> int:
    """Length of the common beginning."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low


def _response(number: int, tool: str, command: str | None, *, stream: bool) -> tuple[str, bytes]:
    item: dict[str, Any] = {"type": "message", "role": "assistant", "id": f"msg_{number}", "status": "completed"}
    item["content"] = [{"type": "output_text", "text": "Done.", "annotations": []}]
    if command:
        item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": tool}
        item |= {"arguments": _arguments(command), "status": "completed"}
    usage: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}
    usage |= {"input_tokens_details": {"cached_tokens": 900}, "output_tokens_details": {"reasoning_tokens": 0}}
    response: dict[str, Any] = {"id": f"resp_{number}", "object": "response", "status": "completed", "model": "gpt-5.2"}
    response |= {"created_at": 1, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    response |= {"error": None, "incomplete_details": None, "output": [item], "usage": usage}
    if not stream:
        return "application/json", json.dumps(response).encode()
    events: list[dict[str, Any]] = [
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    ]
    return "text/event-stream", "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events).encode()


def _chat(number: int, tool: str, command: str | None) -> tuple[str, bytes]:
    message: dict[str, Any] = {"role": "assistant", "content": None if command else "Done."}
    if command:
        call = {"name": tool, "arguments": _arguments(command)}
        message["tool_calls"] = [{"id": f"call_{number}", "type": "function", "function": call}]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if command else "stop"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
    body = {"id": f"chat_{number}", "object": "chat.completion", "created": 1, "model": "gpt-5.2"}
    return "application/json", json.dumps(body | {"choices": [choice], "usage": usage}).encode()


def _arguments(command: str) -> str:
    return json.dumps({"command": command})
