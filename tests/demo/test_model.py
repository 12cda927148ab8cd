"""The scripted model keeps to the Responses API as OpenAI's own client reads it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseReasoningItem

from demo.model import EMPTY, Fault, ScriptedModel
from demo.script import FIX, STRANGE


@pytest_asyncio.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    model = ScriptedModel()
    await model.start()
    yield model
    await model.stop()


@pytest_asyncio.fixture
async def client(model: ScriptedModel) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=model.url, api_key="any", max_retries=0) as client:
        yield client


def output_of(call: dict[str, Any], text: str = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": text}


async def play(client: openai.AsyncOpenAI, conversation: list[dict[str, Any]], steps: int) -> list[str]:
    """The names of the tools that are called, with every call answered."""
    names: list[str] = []
    given: Any = conversation
    for _ in range(steps):
        response = await client.responses.create(model="scripted-model", input=given, store=False)
        conversation += [item.model_dump(mode="json", exclude_unset=True) for item in response.output]
        for item in response.output:
            if isinstance(item, ResponseFunctionToolCall):
                names.append(item.name)
                conversation.append(output_of({"call_id": item.call_id}))
    return names


async def test_the_demo_runs_to_its_answer(client: openai.AsyncOpenAI) -> None:
    conversation: list[dict[str, Any]] = [{"role": "user", "content": "Fix issue #1"}]
    steps = len(FIX.calls)
    assert await play(client, conversation, steps) == [call.name for call in FIX.calls]
    response = await client.responses.create(model="m", input=conversation)  # type: ignore[arg-type]
    assert isinstance(response.output[0], ResponseOutputMessage)
    assert response.output_text.startswith("Fixed:")
    assert response.usage
    assert 0 < response.usage.input_tokens_details.cached_tokens < response.usage.input_tokens


async def test_reasoning_is_encrypted_and_must_come_back_with_what_follows_it(client: openai.AsyncOpenAI) -> None:
    conversation: list[dict[str, Any]] = [{"role": "user", "content": "Fix issue #1"}]
    await play(client, conversation, 1)
    response = await client.responses.create(model="m", input=conversation)  # type: ignore[arg-type]
    reasoning = response.output[0]
    assert isinstance(reasoning, ResponseReasoningItem)
    assert reasoning.encrypted_content
    assert response.usage
    assert response.usage.output_tokens_details.reasoning_tokens > 0
    lonely = [*conversation, reasoning.model_dump(exclude_unset=True), {"role": "user", "content": "x"}]
    with pytest.raises(openai.BadRequestError, match="without its required following item"):
        await client.responses.create(model="m", input=lonely)  # type: ignore[arg-type]


async def test_a_call_without_an_output_is_refused(client: openai.AsyncOpenAI) -> None:
    conversation: list[dict[str, Any]] = [{"role": "user", "content": "!shell ls"}]
    await play(client, conversation, 1)
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await client.responses.create(model="m", input=conversation[:-1])  # type: ignore[arg-type]


async def test_an_interrupted_call_is_made_again(client: openai.AsyncOpenAI) -> None:
    conversation: list[dict[str, Any]] = [{"role": "user", "content": "!shell ls"}]
    await play(client, conversation, 1)
    conversation[-1]["output"] = "interrupted by a restart; check before you repeat it"
    assert await play(client, conversation, 1) == ["shell"]


async def test_a_closed_turn_is_not_taken_up_again(client: openai.AsyncOpenAI) -> None:
    conversation: list[dict[str, Any]] = [
        {"role": "user", "content": "!shell ls"},
        {"role": "system", "content": "[turn_interrupted] interrupted by the user"},
        {"role": "user", "content": "!say hello"},
    ]
    response = await client.responses.create(model="m", input=conversation)  # type: ignore[arg-type]
    assert response.output_text == "hello"


async def test_anything_else_is_answered_plainly(client: openai.AsyncOpenAI) -> None:
    response = await client.responses.create(model="m", input="What is the weather?")
    assert response.output_text == STRANGE


async def test_faults_come_in_order(model: ScriptedModel, client: openai.AsyncOpenAI) -> None:
    model.faults += [Fault(429), EMPTY, None]
    with pytest.raises(openai.RateLimitError):
        await client.responses.create(model="m", input="x")
    assert (await client.responses.create(model="m", input="x")).output == []
    assert (await client.responses.create(model="m", input="x")).output_text == STRANGE
    assert [exchange.status for exchange in model.requests] == [429, 200, 200]


async def test_a_key_is_required(model: ScriptedModel, client: openai.AsyncOpenAI) -> None:
    names = [entry.id async for entry in client.models.list()]
    assert "scripted-model" in names
    async with httpx.AsyncClient() as stranger:
        answer = await stranger.post(f"{model.url}/responses", json={"model": "m", "input": "x"})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
