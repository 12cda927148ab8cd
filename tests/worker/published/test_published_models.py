"""The worker against model servers that know nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from nightshift.errors import ContextTooLong
from nightshift.models import ItemKind, ReportKind
from tests.worker.asking import Api, Shown, asking, prompt
from tests.worker.conftest import Machine
from tests.worker.controlplane import ControlPlane
from tests.worker.published import servers
from worker.model import Stop, patience

APIS: tuple[Api, ...] = ("responses", "chat")
FIXTURES: list[dict[str, Any]] = [
    {
        "match": {"userMessage": "work", "hasToolResult": False},
        "response": {
            "content": "I look at both.",
            "reasoning": "Two things at once.",
            "toolCalls": [
                {"name": "shell", "arguments": json.dumps({"command": f"echo {word}", "timeout_seconds": None})}
                for word in ("one", "two")
            ],
        },
    },
    {"match": {"userMessage": "work", "hasToolResult": True}, "response": {"content": "Both are done."}},
    {"match": {"userMessage": "cut"}, "response": {"content": "As far as", "finishReason": "length"}},
]


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.mock(tmp_path_factory.mktemp("mock"), FIXTURES) as url:
        yield url


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.real(tmp_path_factory.mktemp("real")) as url:
        yield url


@pytest.mark.parametrize("api", APIS)
async def test_a_turn_with_parallel_calls(plane: ControlPlane, machine: Machine, mock: str, api: Api) -> None:
    machine.endpoint.base_url, machine.endpoint.api = f"{mock}/v1", api
    before = len(await journal(mock))
    await machine.start()
    report = await plane.answered(await plane.say("work"))
    assert report.kind is ReportKind.COMPLETED, report.detail
    assert plane.finals() == ["Both are done."]
    kinds = [item.kind for item in plane.items]
    assert kinds.count(ItemKind.TOOL_CALL) == kinds.count(ItemKind.TOOL_OUTPUT) == 2
    assert plane.of(ItemKind.REASONING)[0].text == "Two things at once."
    assert {output.text.splitlines()[0] for output in plane.of(ItemKind.TOOL_OUTPUT)} == {"one", "two"}
    path = "/v1/chat/completions" if api == "chat" else "/v1/responses"
    asked = (await journal(mock))[before:]
    assert [(entry["path"], entry["response"]["status"]) for entry in asked] == [(path, 200)] * 2
    assert all(entry["body"]["stream"] for entry in asked)


async def journal(mock: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{mock}/__aimock/journal")).json()


@pytest.mark.parametrize("api", APIS)
async def test_its_chaos_is_outlived(mock: str, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors, broken JSON, streams that break off, a limited rate."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(patience, "TRIES", 200)
    async with httpx.AsyncClient() as http, asking(f"{mock}/v1", api) as model:
        for chaos in ("dropRate", "malformedRate", "disconnectRate"):
            await http.post(f"{mock}/__aimock/chaos", json={chaos: 0.7})
            for _ in range(5):
                reply = await model.respond(prompt("work"))
                assert [item["type"] for item in reply.output][-2:] == ["function_call", "function_call"]
        await http.delete(f"{mock}/__aimock/chaos")


async def test_its_length_stop_is_seen(mock: str) -> None:
    for api in APIS:
        async with asking(f"{mock}/v1", api) as model:
            assert (await model.respond(prompt("cut"))).stop is Stop.LENGTH


@pytest.mark.parametrize("api", APIS)
async def test_a_real_model_speaks(real: str, api: Api) -> None:
    """What it says is nothing to go by; that it streams, is counted and is understood, is."""
    shown = Shown()
    async with asking(f"{real}/v1", api) as model:
        hello: list[dict[str, Any]] = [{"type": "output_text", "text": "Hello.", "annotations": []}]
        said = {"type": "message", "role": "assistant", "status": "completed", "content": hello}
        note = {"role": "system", "content": "[turn_interrupted] interrupted by the user"}
        asked = prompt("Say hello.", said, note, "Tell me a story.", max_output_tokens=24, tools=[])
        reply = await model.respond(asked, shown)
        again = await model.respond(asked)
    assert reply.tokens.input > 10
    assert 0 < reply.tokens.output <= 24
    told = "".join(part["text"] for item in reply.output for part in item["content"])
    assert shown.of("text")[-1] == told
    assert len(shown.of("text")) > 1
    assert again.tokens.cached > 0, "it begins with the same"


@pytest.mark.parametrize("api", APIS)
async def test_a_real_context_is_too_short_for_this(real: str, api: Api) -> None:
    async with asking(f"{real}/v1", api) as model:
        with pytest.raises(ContextTooLong):
            await model.respond(prompt("word " * 5000, tools=[]))
