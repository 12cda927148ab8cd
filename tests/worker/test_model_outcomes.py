"""What a model server may say instead of an answer, and what a person is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from nightshift.errors import ContextTooLong
from nightshift.models import ItemKind, Tokens
from tests.worker.asking import Api, asking, prompt
from tests.worker.rawserver import Raw, RawServer, answer, error, sse
from worker import replies
from worker.envelope import Envelope
from worker.model import ModelFault, Reply, Stop

FILTER = {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}, "message": "filtered"}
FAULTS: list[tuple[str, Raw]] = [
    ("model_access", error(401, "Incorrect API key provided", "invalid_api_key")),
    ("model_access", error(403, "Principal does not have access to API/Operation.")),
    ("model_unknown", error(404, "The API deployment for this resource does not exist.", "DeploymentNotFound")),
    ("model_unknown", error(400, "The requested model 'm' does not exist.", "model_not_found", "model")),
    ("model_quota", error(429, "You exceeded your current quota", "insufficient_quota")),
    ("content_filter", error(400, "The response was filtered", "content_filter")),
    ("content_filter", answer(400, {"error": FILTER})),
    ("content_filter", sse({"type": "error", "error": FILTER})),
    ("model_refused", error(400, "Invalid value for 'input[3].content'.", "invalid_value", "input[3].content")),
]
TOO_LONG = [
    error(400, "Your input exceeds the context window of this model.", "context_length_exceeded", "input"),
    error(400, "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens"),
    answer(400, {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "x"}}),
    error(413, "prompt is too long: 210000 tokens > 200000 maximum"),
    sse({"type": "response.failed", "response": {"error": {"code": "context_length_exceeded", "message": "no"}}}),
]


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[RawServer]:
    async with RawServer().running() as server:
        yield server


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize(("code", "said"), FAULTS)
async def test_each_has_a_name_and_advice_and_is_not_tried_again(
    server: RawServer, code: str, said: Raw, api: Api
) -> None:
    server.answers.append(said)
    async with asking(server.url, api) as model:
        with pytest.raises(ModelFault) as fault:
            await model.respond(prompt("?"))
    assert fault.value.code == code
    assert fault.value.advice
    assert len(server.requests) == 1


@pytest.mark.parametrize("said", TOO_LONG)
async def test_a_context_that_is_too_long_is_an_error_of_its_own(server: RawServer, said: Raw) -> None:
    server.answers.append(said)
    async with asking(server.url, "responses") as model:
        with pytest.raises(ContextTooLong):
            await model.respond(prompt("?"))
    assert len(server.requests) == 1


async def test_without_a_key_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with asking("http://127.0.0.1:9/v1", "responses", key="") as model:
        with pytest.raises(ModelFault, match="client cannot start") as fault:
            await model.respond(prompt("?"))
    assert "key" in fault.value.advice


MESSAGE: dict[str, Any] = {"type": "message", "content": [{"type": "output_text", "text": "as far as"}]}
CALL: dict[str, Any] = {
    "type": "function_call",
    "call_id": "c",
    "name": "shell",
    "arguments": '{"command": "rm -rf /tmp/x',
}
STOPS: list[tuple[Api, Stop, dict[str, Any]]] = [
    (
        "responses",
        Stop.LENGTH,
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": [MESSAGE, CALL]},
    ),
    (
        "responses",
        Stop.CONTENT_FILTER,
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}, "output": [MESSAGE, CALL]},
    ),
    ("responses", Stop.LENGTH, {"status": "completed", "output": [MESSAGE, CALL | {"status": "incomplete"}]}),
    ("chat", Stop.LENGTH, {"choices": [{"finish_reason": "length", "message": {"content": "as far as"}}]}),
    ("chat", Stop.CONTENT_FILTER, {"choices": [{"finish_reason": "content_filter", "message": {"content": "as"}}]}),
]


@pytest.mark.parametrize(("api", "stop", "body"), STOPS)
async def test_why_it_stopped(server: RawServer, api: Api, stop: Stop, body: dict[str, Any]) -> None:
    server.answers.append(answer(200, body))
    async with asking(server.url, api) as model:
        assert (await model.respond(prompt("?"))).stop is stop


def kinds(reply: Reply) -> list[tuple[ItemKind, str | None]]:
    new = replies.items(reply, 1, 1, 1)
    envelopes = [Envelope.of(item) for item in new]
    assert [bool(envelope.usage) for envelope in envelopes] == [True] + [False] * (len(new) - 1), "counted once"
    assert len({item.id for item in new}) == len(new)
    assert not any(item.final for item in new) or reply.stop is Stop.DONE
    return [(item.kind, item.code) for item in new]


def test_of_a_reply_that_was_cut_no_call_is_made() -> None:
    thought: dict[str, Any] = {"type": "reasoning", "id": "rs", "summary": []}
    whole = CALL | {"arguments": "{}"}
    used = Tokens(input=1, output=1, calls=1)

    def reply(stop: Stop, *output: dict[str, Any]) -> Reply:
        return Reply("r", "m", list(output), used, stop)

    said, notice = ItemKind.ASSISTANT_MESSAGE, ItemKind.NOTICE
    assert kinds(reply(Stop.LENGTH, thought, MESSAGE, whole, CALL)) == [
        (ItemKind.REASONING, None),
        (said, None),
        (notice, "response_cut"),
    ]
    assert kinds(reply(Stop.LENGTH, thought, CALL)) == [(notice, "response_cut")]
    assert kinds(reply(Stop.CONTENT_FILTER, thought, MESSAGE, whole)) == [(notice, "content_filter")]
    assert kinds(reply(Stop.DONE, thought)) == [(notice, "empty_response")]
    assert kinds(reply(Stop.DONE)) == [(notice, "empty_response")]
    blank = MESSAGE | {"content": [{"type": "output_text", "text": " \n"}]}
    assert kinds(reply(Stop.DONE, blank)) == [(notice, "empty_response")]
    assert kinds(reply(Stop.DONE, blank, whole)) == [(ItemKind.TOOL_CALL, None)]
    refusal = MESSAGE | {"content": [{"type": "refusal", "refusal": "I will not."}]}
    assert kinds(reply(Stop.DONE, refusal)) == [(said, "refusal")]
    assert replies.items(reply(Stop.DONE, refusal), 1, 1, 1)[0].final


async def test_a_refusal_comes_as_one_over_both_apis(server: RawServer) -> None:
    part = {"type": "refusal", "refusal": "I will not."}
    response = {"output": [{"type": "message", "role": "assistant", "content": [part]}]}
    completion = {"choices": [{"finish_reason": "stop", "message": {"content": None, "refusal": "I will not."}}]}
    bodies: dict[Api, Any] = {"responses": response, "chat": completion}
    for api, body in bodies.items():
        server.answers.append(answer(200, body))
        async with asking(server.url, api) as model:
            reply = await model.respond(prompt("?"))
        assert reply.output[0]["content"] == [part]
        assert kinds(reply) == [(ItemKind.ASSISTANT_MESSAGE, "refusal")]
        server.answers.clear()
