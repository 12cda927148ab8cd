"""A scripted model: no intelligence in it. It speaks OpenAI's Responses API and Chat Completions, whole or as streams,
and follows demo/script.py.

It decides from the request alone, so any number of sessions may use it, and restarts change nothing. For tests, a
message whose lines start with `!` is a script of its own:

    !shell COMMAND      call shell with it, answer with its output
    !sleep SECONDS      the same with `sleep`
    !call NAME JSON     call any tool with these arguments, valid or not
    !say TEXT           answer with the text

`python -m demo.model --port N` serves it; any bearer key will do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from demo.chat import as_completion, as_response_request
from demo.director import Conversation, next_output
from demo.streams import chat_events, response_events

MODELS = ("scripted-model", "gpt-5.2")
JOURNAL = 1000


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of an answer."""

    status: int = 500
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    """Given: sent as it is. Else OpenAI's error shape."""
    hang: bool = False
    """No answer until the client goes away."""
    cut: int | None = None
    """The stream ends after so many events."""
    pause: float = 0.0
    """Seconds between two events of the stream."""


EMPTY = Fault(status=200)
"""A response with no output."""


@dataclass(frozen=True)
class Exchange:
    """One entry of the journal. `response` is None where nothing was answered."""

    body: dict[str, Any]
    response: dict[str, Any] | None
    status: int
    raw: bytes = b""
    """The request as it came."""


class ScriptedModel:
    def __init__(self, *, port: int = 0, latency: float = 0.0, faults: Iterable[Fault | None] = ()) -> None:
        """`faults` meet the first requests, one each; None lets one pass. `latency` in seconds."""
        self.requests: deque[Exchange] = deque(maxlen=JOURNAL)
        self.faults: deque[Fault | None] = deque(faults)
        self.latency = latency
        self._port = port
        self._serving: asyncio.Task[None] | None = None
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/responses", self._responses, methods=["POST"]),
            Route("/v1/chat/completions", self._responses, methods=["POST"]),
        ]
        self._server = _Server(
            uvicorn.Config(Starlette(routes=routes), log_level="warning", timeout_graceful_shutdown=1)
        )

    @property
    def url(self) -> str:
        """The base URL to give to a client, /v1 included."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", self._port))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as embedded.host has it
        self._port = listening.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve([listening]))

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._serving:
            await self._serving

    async def _models(self, request: Request) -> Response:
        if not _has_key(request):
            return _error(401, "Missing bearer authentication.", "invalid_api_key")
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "nightshift-demo"} for name in MODELS]
        return JSONResponse({"object": "list", "data": models})

    async def _responses(self, request: Request) -> Response:
        try:
            raw = await request.body()
        except ClientDisconnect:  # its worker was killed
            return Response(status_code=499)
        body: dict[str, Any] = json.loads(raw)
        fault = self.faults.popleft() if self.faults else None
        if fault and fault.hang:
            self.requests.append(Exchange(body, None, 0, raw))
            while (await request.receive())["type"] != "http.disconnect":
                pass
            return Response(status_code=499)
        await asyncio.sleep(self.latency)
        chat = request.url.path.endswith("/chat/completions")
        answer = self._answer(request, body, fault, chat)
        if not isinstance(answer, dict):
            self.requests.append(Exchange(body, None, answer.status_code, raw))
            return answer
        cut = bool(fault and fault.cut is not None)
        self.requests.append(Exchange(body, None if cut else answer, 200, raw))
        if chat:
            answer = as_completion(answer)
        if not body.get("stream"):
            return JSONResponse(answer)
        return StreamingResponse(self._stream(answer, chat, fault or Fault()), media_type="text/event-stream")

    async def _stream(self, answer: dict[str, Any], chat: bool, fault: Fault) -> AsyncIterator[str]:
        for number, event in enumerate(chat_events(answer) if chat else response_events(answer)):
            if number == fault.cut:
                return
            kind = event.get("type", "")
            yield f"data: {json.dumps(event)}\n\n" if chat else f"event: {kind}\ndata: {json.dumps(event)}\n\n"
            reading = self.latency / 8 if kind == "response.output_text.delta" else 0
            await asyncio.sleep(fault.pause or reading)
        if chat:
            yield "data: [DONE]\n\n"

    def _answer(
        self, request: Request, body: dict[str, Any], fault: Fault | None, chat: bool
    ) -> dict[str, Any] | Response:
        if not _has_key(request):
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        if fault and fault is not EMPTY and fault.cut is None and not fault.pause:
            if fault.body is not None:
                return JSONResponse(fault.body, fault.status, fault.headers)
            return _error(fault.status, f"Scripted fault {fault.status}.", "scripted_fault", fault.headers)
        if chat:
            try:
                body = as_response_request(body)
            except (ValueError, KeyError) as problem:
                return _error(400, str(problem), "invalid_request_error")
        conversation = Conversation(body)
        if problem := conversation.problem():
            return _error(400, problem, "invalid_request_error")
        output = [] if fault is EMPTY else next_output(conversation)
        return {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "metadata": {},
            "model": body["model"],
            "output": output,
            "parallel_tool_calls": True,
            "store": False,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": body.get("tools", []),
            "top_p": 1.0,
            "usage": conversation.usage(output),
        }


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals belong to whoever runs the loop."""
        yield


def _has_key(request: Request) -> bool:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(key.strip())


def _error(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> JSONResponse:
    kind = "invalid_request_error" if status < 429 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers)


async def _serve(port: int, latency: float) -> None:
    model = ScriptedModel(port=port, latency=latency)
    await model.start()
    print(f"scripted model, no intelligence in it: {model.url}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await model.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m demo.model", description="Serves the scripted model.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency", type=float, default=0.15, help="seconds per answer, so that people can watch")
    arguments = parser.parse_args()
    try:
        asyncio.run(_serve(arguments.port, arguments.latency))
    except KeyboardInterrupt:
        print("stopped")
