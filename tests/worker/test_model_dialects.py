"""Servers that speak OpenAI's APIs in their own way, and models that do not take everything."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from tests.worker.asking import TOOL, Api, asking, prompt
from tests.worker.rawserver import Raw, RawServer, answer, error, sse

THOUGHT: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"}
ANSWER: dict[str, Any] = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[RawServer]:
    async with RawServer().running() as server:
        yield server


def call(id: str, arguments: str = "{}", name: str = "shell") -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def output(id: str, content: Any = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": content}


def good(api: Api) -> Raw:
    if api == "chat":
        return answer(200, {"choices": [{"message": {"content": "done"}, "finish_reason": "stop"}]})
    return answer(200, {"id": "r", "status": "completed", "output": [ANSWER]})


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


REFUSALS: list[tuple[Api, str, Raw]] = [
    ("responses", "include", error(400, "Encrypted content is not supported with this model.", None, "include")),
    (
        "responses",
        "reasoning",
        error(400, "Unsupported parameter", "unsupported_parameter", "reasoning"),
    ),
    ("responses", "prompt_cache_key", error(400, "Unknown parameter: 'prompt_cache_key'.", "unknown_parameter")),
    ("responses", "parallel_tool_calls", error(422, "body.parallel_tool_calls: Extra inputs are not permitted")),
    (
        "responses",
        "store",
        answer(422, {"detail": [{"loc": ["body", "store"], "msg": "Extra inputs are not permitted"}]}),
    ),
    ("chat", "stream_options", error(400, "unknown field: stream_options")),
    ("chat", "parallel_tool_calls", error(400, "parallel_tool_calls is not supported by this model")),
    ("chat", "prompt_cache_key", error(400, "Unrecognized request argument supplied: prompt_cache_key")),
    ("chat", "reasoning_effort", error(400, "Unsupported parameter", "unsupported_parameter", "reasoning_effort")),
]


@pytest.mark.parametrize(("api", "name", "refusal"), REFUSALS)
async def test_what_a_model_does_not_take_is_left_out_once_and_for_all(
    server: RawServer, api: Api, name: str, refusal: Raw
) -> None:
    server.answers.extend([refusal, good(api)])
    async with asking(server.url, api) as model:
        await model.respond(prompt("one", effort="low"))
        await model.respond(prompt("two", effort="low"))
        assert [name in request for request in server.requests] == [True, False, False]
        await model.respond(prompt("three", effort="low", model="another"))
        assert name in server.requests[-1], "another model may take it"


async def test_strict_schemas_are_given_up_too(server: RawServer) -> None:
    server.answers.extend([error(400, "Unknown parameter: 'tools[0].strict'.", param="tools[0].strict"), good("chat")])
    async with asking(server.url, "chat") as model:
        await model.respond(prompt("one"))
    assert "strict" not in server.requests[-1]["tools"][0]["function"]


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_an_effort_that_is_not_there_becomes_the_nearest(server: RawServer, api: Api) -> None:
    param = "reasoning_effort" if api == "chat" else "reasoning.effort"
    said = f"Unsupported value: '{param}' does not support 'xhigh' with this model. Supported values are: 'low'."
    server.answers.extend([error(400, said, "unsupported_value", param), good(api)])

    def efforts() -> list[str]:
        return [r.get("reasoning_effort") or r["reasoning"]["effort"] for r in server.requests]

    async with asking(server.url, api) as model:
        await model.respond(prompt("one", effort="xhigh"))
        assert efforts() == ["xhigh", "high"]
        await model.respond(prompt("two", effort="xhigh"))
        assert efforts() == ["xhigh", "high", "high"]
        server.answers.extend([error(400, said.replace("xhigh", "minimal"), "unsupported_value", param), good(api)])
        server.answers.popleft()
        await model.respond(prompt("three", effort="minimal"))
        assert efforts()[3:] == ["minimal", "low"]


async def test_reasoning_of_another_account_is_left_out(server: RawServer) -> None:
    said = "The encrypted content for item rs_1 could not be verified."
    server.answers.extend([error(400, said, "invalid_encrypted_content"), good("responses")])
    fresh = THOUGHT | {"id": "rs_2", "encrypted_content": "its own"}
    async with asking(server.url, "responses") as model:
        await model.respond(prompt("one", THOUGHT, ANSWER, "two"))
        assert THOUGHT in server.requests[0]["input"]
        assert THOUGHT not in server.requests[1]["input"]
        assert "include" in server.requests[1], "that is no parameter which it does not take"
        await model.respond(prompt("one", THOUGHT, ANSWER, "two", fresh, ANSWER, "three"))
    kept = [item for item in server.requests[-1]["input"] if item.get("type") == "reasoning"]
    assert kept == [fresh]


async def test_a_session_moves_from_one_api_to_the_other(server: RawServer) -> None:
    """The log is the same; each API gets what it knows."""
    plain = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    log: list[Any] = [
        "fix it",
        THOUGHT,
        call("c1"),
        output("c1"),
        plain,
        call("c2", "{oops"),
        output("c2"),
        ANSWER,
        "go on",
    ]
    server.answers.append(good("chat"))
    async with asking(server.url, "chat") as model:
        await model.respond(prompt(*log))
    messages = server.requests[-1]["messages"]
    assert [message["role"] for message in messages] == [
        *("system", "user", "assistant", "tool", "assistant", "tool", "assistant", "user")
    ]
    assert "reasoning_content" not in messages[2]
    assert messages[4]["reasoning_content"] == "hm"
    assert json.loads(messages[4]["tool_calls"][0]["function"]["arguments"]) == {"malformed": "{oops"}
    server.answers[0] = good("responses")
    async with asking(server.url, "responses") as model:
        await model.respond(prompt(*log))
    assert server.requests[-1]["input"] == [item for item in prompt(*log).input if item is not plain]


async def test_names_that_a_model_made_up_do_not_spoil_the_conversation(server: RawServer) -> None:
    log: list[Any] = ["x", call("c1", name="functions.shell now"), output("c1")]
    for api in ("responses", "chat"):
        server.answers.append(good(api))
        async with asking(server.url, api) as model:
            await model.respond(prompt(*log))
        assert "functions.shell" not in json.dumps(server.requests[-1])
        assert "functions_shell_now" in json.dumps(server.requests[-1])
        server.answers.clear()


async def test_parallel_calls_and_their_outputs_in_chat(server: RawServer) -> None:
    server.answers.append(good("chat"))
    log: list[Any] = [
        "x",
        call("a"),
        call("b"),
        output("b", "2"),
        output("a", "1"),
        {"role": "system", "content": "[n] m"},
    ]
    async with asking(server.url, "chat") as model:
        await model.respond(prompt(*log))
    _, _, said, first, second, note = server.requests[-1]["messages"]
    assert [each["id"] for each in said["tool_calls"]] == ["a", "b"]
    assert [(each["tool_call_id"], each["content"]) for each in (first, second)] == [("a", "1"), ("b", "2")]
    assert note == {"role": "user", "content": "[n] m"}


STREAMS: dict[str, list[dict[str, Any]]] = {
    "as OpenAI": [
        chunk(content="he"),
        chunk(content="llo"),
        chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "shell", "arguments": ""}}]),
        chunk(tool_calls=[{"index": 1, "id": "b", "function": {"name": "shell", "arguments": ""}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"x": '}}]),
        chunk(tool_calls=[{"index": 1, "function": {"arguments": '{"x": 2}'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
        chunk("tool_calls"),
    ],
    "whole calls without an index": [
        chunk(content="hello", tool_calls=[{"id": "a", "function": {"name": "shell", "arguments": '{"x": 1}'}}]),
        chunk("stop", tool_calls=[{"id": "b", "function": {"name": "shell", "arguments": {"x": 2}}}]),
    ],
    "names again and again, ids twice": [
        chunk(content="hello"),
        chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "shell", "arguments": '{"x":'}}]),
        chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "shell", "arguments": " 1}"}}]),
        chunk(tool_calls=[{"index": 5, "id": "a", "function": {"name": "shell", "arguments": '{"x": 2}'}}]),
        chunk("tool_calls"),
    ],
    "content in parts": [
        chunk(content=[{"type": "text", "text": "hello"}]),
        chunk(tool_calls=[{"function": {"name": "shell", "arguments": '{"x": 1}'}}]),
        chunk("tool_calls", tool_calls=[{"id": "b", "function": {"name": "shell", "arguments": '{"x": 2}'}}]),
    ],
}


@pytest.mark.parametrize("dialect", STREAMS)
async def test_tool_calls_however_they_are_streamed(server: RawServer, dialect: str) -> None:
    server.answers.append(
        sse(*STREAMS[dialect], {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    )
    async with asking(server.url, "chat") as model:
        reply = await model.respond(prompt("?"))
    message, first, second = reply.output
    assert message["content"][0]["text"] == "hello"
    assert [json.loads(each["arguments"]) for each in (first, second)] == [{"x": 1}, {"x": 2}]
    assert first["call_id"] != second["call_id"]
    assert all(each["call_id"] and each["name"] == "shell" for each in (first, second))
    assert (reply.tokens.input, reply.tokens.output) == (3, 4)


def counts(**fields: Any) -> dict[str, Any]:
    return {"prompt_tokens": 9, "completion_tokens": 4} | fields


THREE = {"reasoning_tokens": 3}


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (counts(prompt_tokens_details={"cached_tokens": 8}), (9, 8, 4, 0)),
        (counts(prompt_cache_hit_tokens=7), (9, 7, 4, 0)),
        (counts(total_tokens=13, completion_tokens_details=THREE), (9, 0, 4, 3)),
        (counts(total_tokens=16, completion_tokens_details=THREE), (9, 0, 7, 3)),
        (counts(completion_tokens=None, prompt_tokens_details=None), (9, 0, 0, 0)),
        (None, (0, 0, 0, 0)),
    ],
)
async def test_usage_however_it_is_counted(server: RawServer, usage: Any, counted: tuple[int, ...]) -> None:
    server.answers.append(sse(chunk(content="x", reasoning="hm"), chunk("stop") | {"usage": usage}))
    async with asking(server.url, "chat") as model:
        reply = await model.respond(prompt("?"))
    tokens = reply.tokens
    assert (tokens.input, tokens.cached, tokens.output, tokens.reasoning) == counted
    assert tokens.calls == 1
    assert reply.output[0]["content"] == [{"type": "reasoning_text", "text": "hm"}]


async def test_requests_are_what_the_apis_ask_for(server: RawServer) -> None:
    server.answers.append(good("responses"))
    async with asking(server.url, "responses") as model:
        await model.respond(prompt("?", max_output_tokens=50))
    request = server.requests[-1]
    assert (request["store"], request["prompt_cache_key"], request["tools"]) == (False, "s1", [TOOL])
    assert (request["max_output_tokens"], request["reasoning"]) == (50, {"summary": "auto"})
    assert "authorization: bearer key" in server.headers[-1].lower()
    server.answers[0] = good("chat")
    async with asking(server.url, "chat") as model:
        await model.respond(prompt("?", max_output_tokens=50, tools=[]))
    request = server.requests[-1]
    assert (request["max_completion_tokens"], request["stream_options"]) == (50, {"include_usage": True})
    assert not {"tools", "parallel_tool_calls"} & request.keys(), "the API refuses the one without the other"
