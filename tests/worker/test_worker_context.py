"""A model that reads little and a conversation that grows: nothing is refused, nothing of the user's is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from nightshift.errors import ContextTooLong
from nightshift.models import Item, ItemKind, Model, ReportKind, Tokens
from tests.worker.conftest import configuration, workbench
from tests.worker.controlplane import TOKEN, ControlPlane
from worker import context, counter
from worker.attachments import Attachments
from worker.client import ControlPlane as Client
from worker.context import ELIDED, SUMMARY
from worker.credentials import Tokens as GitHubTokens
from worker.drafts import Drafts
from worker.history import History
from worker.log import Log
from worker.loop import Agent
from worker.masking import Secrets
from worker.model import Model as ModelPort
from worker.model import Prompt, Reply, Show
from worker.model.port import unseen
from worker.outputs import Outputs
from worker.reports import Reports
from worker.tools import AnyTool, Toolset, Workbench
from worker.tools.base import Tool, tool

WINDOW = 32_768
TASK = "Look at every page of the book. Then tell me how it ends."
WORDS = "the quick brown fox jumps over the lazy dog; "


class Reader:
    """A model that views one page after the other. Its server counts in its own way, and refuses what is too long."""

    def __init__(self, steps: int, window: int = WINDOW, characters: int = 40_000) -> None:
        self.steps = steps
        self.window = window
        self.characters = characters
        self.done = 0
        self.refused = 0
        self.summaries = 0
        self.inputs: list[list[dict[str, Any]]] = []
        self.at: list[float] = []
        self.paid = Tokens()

    async def respond(self, prompt: Prompt, show: Show = unseen) -> Reply:
        length = sum(map(len, (prompt.instructions, json.dumps(prompt.tools), json.dumps(prompt.input))))
        tokens = length // 4
        if tokens > self.window:
            self.refused += 1
            raise ContextTooLong(f"{tokens} tokens are more than {self.window}")
        said = [item["content"] for item in prompt.input if item.get("role") == "user"]
        assert said[0] == TASK, "the task is never lost"
        if SUMMARY in str(prompt.input[-1].get("content"))[:30]:
            self.summaries += 1
            output = _message(f"I have viewed {self.done} pages.")
        elif self.done < self.steps:
            self.inputs = [*self.inputs[-20:], prompt.input]
            self.at.append(time.monotonic())
            self.done += 1
            arguments = json.dumps({"number": self.done, "characters": self.characters})
            output = {"type": "function_call", "call_id": f"c{self.done}", "name": "page", "arguments": arguments}
        else:
            output = _message("It ends well.")
        used = Tokens(input=tokens, output=100, calls=1)
        self.paid += used
        return Reply(prompt.id, prompt.model, [output], used)


def _message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


class Page(Model):
    number: int
    characters: int


@tool(Page, reads=True)
async def page(arguments: Page, bench: Workbench) -> str:
    """View a page of the book."""
    return f"{arguments.number} {WORDS * (arguments.characters // len(WORDS))}"


class House:
    """An agent in this process, at a control plane over real HTTP."""

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        self.folder = folder
        self.plane = plane
        self.tools: list[AnyTool] = [page]
        self.running: asyncio.Task[None] | None = None

    def start(self, model: ModelPort) -> None:
        self.running = asyncio.create_task(self._run(model))

    async def stop(self) -> None:
        if self.running:
            self.running.cancel()
            await asyncio.wait({self.running})

    async def _run(self, model: ModelPort) -> None:
        client, secrets, config = Client(self.plane.url, TOKEN), Secrets(), self.plane.config
        log = Log(client, secrets, Attachments(Outputs(self.folder / "attachments"), client.file))
        await log.catch_up()
        tokens = GitHubTokens(client.github_token, secrets.add)
        drafts, reports = Drafts(client.draft, secrets), Reports(client, log, config)
        try:
            async with workbench(self.folder, config, tokens, secrets) as bench, asyncio.TaskGroup() as together:
                together.create_task(log.follow())
                agent = Agent(config, log, model, drafts, reports, Toolset(self.tools), bench, self.folder)
                together.create_task(agent.run())
        finally:
            await client.close()


@pytest.fixture
async def house(tmp_path: Path, plane: ControlPlane) -> AsyncGenerator[House]:
    plane.config = configuration(context_window=WINDOW, max_steps=5000, session_steps=5000)
    house = House(tmp_path, plane)
    yield house
    await house.stop()


def notices(items: list[Item], code: str) -> list[Item]:
    return [item for item in items if item.code == code]


async def test_a_thousand_steps_with_a_small_window(house: House, plane: ControlPlane) -> None:
    """40 KB each: no call is refused, the turn ends, the last step costs what the tenth did, all usage is counted."""
    model = Reader(1000)
    turn = await plane.say(TASK)
    house.start(model)
    async with asyncio.timeout(300):
        while not plane.finals():
            await asyncio.sleep(0.1)
    report = await plane.answered(turn)
    assert report.kind is ReportKind.COMPLETED
    assert plane.finals() == ["It ends well."]
    assert model.refused == 0
    assert model.summaries == len(notices(plane.items, SUMMARY)) > 2
    outputs = plane.of(ItemKind.TOOL_OUTPUT)
    assert len(outputs) == 1000
    assert min(len(item.text) for item in outputs) > 30_000
    assert report.usage[0].tokens == model.paid
    early, late = (model.at[end] - model.at[end - 10] for end in (20, 1000 - 1))
    print(f"{early / 10 * 1000:.1f} ms a step at step 10, {late / 10 * 1000:.1f} ms at step 1,000")
    first = notices(plane.items, ELIDED)[0].raw
    assert first
    seq: int = first["elided"][0]
    assert (Path(first["kept_in"]) / f"item-{seq}.txt").read_text() == plane.items[seq - 1].text


async def test_the_prefix_changes_only_where_room_is_made_and_a_restart_builds_the_same(
    house: House, plane: ControlPlane
) -> None:
    model = Reader(60, characters=4000)
    turn = await plane.say(TASK)
    house.start(model)
    await plane.answered(turn)
    log, changed = History(), 0
    before: list[str] = []
    for item in plane.items:
        log.add(item)
        now = [json.dumps(value) for value in log.context.input()]
        if item.code in (ELIDED, SUMMARY):
            changed += 1
        else:
            assert now[: len(before)] == before
        before = now
        assert history_of(plane.items[: item.seq]) == log.context.input()
    assert 2 < changed < 60 / 4
    rebuilt = [history_of(plane.items[:n]) for n in range(len(plane.items))]
    assert all(given in rebuilt for given in model.inputs)


def history_of(items: list[Item]) -> list[dict[str, Any]]:
    return History(items).context.input()


async def test_a_server_that_counts_otherwise_is_believed(house: House, plane: ControlPlane) -> None:
    """It takes a fifth of what was thought, and says so only by refusing."""
    model = Reader(5, window=WINDOW // 2)
    turn = await plane.say(TASK)
    house.start(model)
    report = await plane.answered(turn)
    assert report.kind is ReportKind.COMPLETED
    assert 0 < model.refused < 5
    assert any((item.raw or {}).get("window") for item in plane.items)


async def test_a_message_longer_than_the_window_is_cut_and_kept_in_a_file(house: House, plane: ControlPlane) -> None:
    model = Reader(1)
    await plane.say(TASK)
    long = await plane.say(WORDS * 4000)
    house.start(model)
    report = await plane.answered(1)
    assert report.kind is ReportKind.COMPLETED
    said = [str(item["content"]) for item in model.inputs[-1] if item.get("role") == "user"]
    assert f"put away to save room; all of it is in {house.folder}/outputs/item-{long}.txt" in said[-1]
    assert (house.folder / "outputs" / f"item-{long}.txt").read_text() == WORDS * 4000


async def test_what_cannot_be_shortened_ends_the_turn_with_advice(house: House, plane: ControlPlane) -> None:
    plane.config = configuration(context_window=500)
    turn = await plane.say(TASK)
    house.start(Reader(1))
    report = await plane.answered(turn)
    assert report.kind is ReportKind.FAILED
    assert "Choose a model that reads more" in report.detail


class Curious:
    """Looks at three pages at once, then writes on two, then answers."""

    async def respond(self, prompt: Prompt, show: Show = unseen) -> Reply:
        outputs = [item for item in prompt.input if item.get("type") == "function_call_output"]
        names = [["page"] * 3, ["note"] * 2, []][{0: 0, 3: 1, 5: 2}[len(outputs)]]
        calls = [
            {"type": "function_call", "call_id": f"{prompt.id}-{n}", "name": name}
            | {"arguments": json.dumps({"number": n, "characters": 1})}
            for n, name in enumerate(names)
        ]
        return Reply(prompt.id, prompt.model, calls or [_message("Read.")], Tokens(input=1, calls=1))


async def test_calls_that_only_look_run_side_by_side_and_others_one_after_the_other(
    house: House, plane: ControlPlane
) -> None:
    together, writing = asyncio.Barrier(3), asyncio.Lock()

    async def look(arguments: Page, bench: Workbench) -> str:
        await together.wait()
        await asyncio.sleep(0.01 * (3 - arguments.number))
        return f"page {arguments.number}"

    async def note(arguments: Page, bench: Workbench) -> str:
        assert not writing.locked()
        async with writing:
            await asyncio.sleep(0.01)
        return f"note {arguments.number}"

    house.tools = [Tool("page", "", Page, look, reads=True), Tool("note", "", Page, note)]
    turn = await plane.say(TASK)
    house.start(Curious())
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED
    texts = [item.text for item in plane.of(ItemKind.TOOL_OUTPUT)]
    assert texts == ["page 0", "page 1", "page 2", "note 0", "note 1"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 20, 200),
        ("def answer(self, turn: int) -> None:\n    return self._log.append(turn)\n" * 20, 380),
        ("Die Überprüfung der Änderungen ist abgeschlossen, alle Tests laufen grün. " * 20, 300),
        ("エージェントは課題を読み、コードを調べ、テストを実行します。" * 20, 400),
        ("2026-11-21T19:42:07.120Z INFO GET /api/sessions/3f9a0c 200 12.31ms\n" * 20, 780),
        ("", 0),
    ],
)
def test_tokens_are_estimated_within_a_third(text: str, tokens: int) -> None:
    """`tokens` is what o200k makes of it."""
    assert counter.text(text) == pytest.approx(tokens, rel=0.34)
    assert counter.text(text * 50) == pytest.approx(50 * tokens, rel=0.34)


def test_a_summary_without_a_model_names_what_was_done() -> None:
    items = [
        {"kind": "user_message", "text": "Do it"},
        {"kind": "tool_call", "raw": {"output": {"type": "function_call", "name": "shell", "arguments": '{"a": 1}'}}},
    ]
    log = History()
    for seq, fields in enumerate(items, start=1):
        log.add(Item.model_validate(fields | {"seq": seq, "created_at": "2026-01-01T00:00:00Z"}))
    assert context.digest(log.context, 2).endswith('- called shell {"a": 1}')
