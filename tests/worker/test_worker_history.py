"""What the log says: pure functions, so any log can be made up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightshift.models import Item, ItemKind, ReportKind, Tokens
from tests.worker.conftest import configuration
from worker import history, replies
from worker.envelope import Envelope
from worker.history import History
from worker.masking import Secrets
from worker.model import Reply
from worker.prompt import system_prompt

THOUGHT: dict[str, Any] = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x", "status": None}
CALL: dict[str, Any] = {"type": "function_call", "id": "fc", "call_id": "c1", "name": "shell", "arguments": "{}"}
ANSWER: dict[str, Any] = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}


class Story:
    """A log that is written down line by line."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def log(self) -> History:
        return History(self.items)

    def add(self, kind: ItemKind, **fields: Any) -> Item:
        item = Item(kind=kind, seq=len(self.items) + 1, created_at=datetime.now(UTC), **fields)
        self.items.append(item)
        return item

    def user(self, text: str) -> int:
        return self.add(ItemKind.USER_MESSAGE, text=text).seq

    def reply(self, id: str, seen: int, *output: dict[str, Any], turn: int = 1) -> None:
        reply = Reply(id, "m", list(output), Tokens(input=10, output=1, calls=1))
        for item in replies.items(reply, turn, 1, seen):
            self.add(item.kind, **item.model_dump(exclude={"kind"}))

    def output(self) -> None:
        for call in History(self.items).dangling:
            self.add(ItemKind.TOOL_OUTPUT, id=history.output_id(call), call_id=call.call_id, turn=call.turn, text="ok")


def test_a_message_stands_where_the_model_first_saw_it() -> None:
    story = Story()
    first = story.user("one")
    story.user("two, while the model thinks")
    story.reply("r1", first, THOUGHT, CALL)
    story.output()
    before = story.log().context.input()
    result = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
    one, two = {"role": "user", "content": "one"}, {"role": "user", "content": "two, while the model thinks"}
    assert before == [one, THOUGHT, CALL, result, two]
    story.reply("r2", 2, ANSWER)
    assert story.log().context.input() == [*before, ANSWER]
    assert story.log().answered == 2


def test_output_items_come_back_unchanged_down_to_their_nulls() -> None:
    story = Story()
    story.reply("r1", story.user("x"), THOUGHT, CALL)
    assert story.items[1].raw
    assert story.items[1].raw["output"] == THOUGHT
    assert Envelope.of(story.items[1]).usage == Tokens(input=10, output=1, calls=1)
    assert Envelope.of(story.items[2]).usage is None


def test_half_a_response_loses_its_reasoning() -> None:
    story = Story()
    seen = story.user("x")
    story.reply("r1", seen, THOUGHT, CALL)
    story.items.pop()
    story.reply("r2", seen, ANSWER)
    assert story.log().context.input() == [{"role": "user", "content": "x"}, ANSWER]


def test_usage_and_steps_are_counted_per_turn() -> None:
    story = Story()
    first = story.user("x")
    story.reply("r1", first, THOUGHT, CALL)
    story.reply("r2", first, ANSWER)
    second = story.user("y")
    story.reply("r3", second, turn=second)
    log = story.log()
    (used,) = log.turn(first).usage()
    assert used.tokens == Tokens(input=20, output=2, calls=2)
    assert log.turn(first).steps == 2
    assert log.turn(second).in_a_row(history.EMPTY) == 1
    assert log.open_turn == second
    assert log.closing == history.Closing(ReportKind.COMPLETED, first, first)


def test_only_the_last_of_several_messages_is_final() -> None:
    story = Story()
    story.reply("r1", story.user("x"), ANSWER, ANSWER)
    assert [item.final for item in story.items[1:]] == [False, True]


def test_secrets_are_removed_at_any_depth() -> None:
    assert Secrets("hush-hush").mask({"a": ["x hush-hush", {"hush-hush": 1}]}) == {
        "a": ["x [secret removed]", {"[secret removed]": 1}]
    }
    assert Secrets("").mask("text") == "text"


def test_the_prompt_names_the_session_and_the_teams_rules(tmp_path: Path) -> None:
    began = datetime(2026, 11, 21, tzinfo=UTC)
    text = system_prompt(configuration(common_prompt="Costs $5 & ${x}."), tmp_path, began)
    assert "nightshift/s1" in text
    assert "2026-11-21" in text
    assert text.endswith("# What your team adds\nCosts $5 & ${x}.\n")


def test_the_prompt_says_whether_files_stay(tmp_path: Path) -> None:
    began = datetime(2026, 11, 21, tzinfo=UTC)
    assert "its files stay for the whole session" in system_prompt(configuration(), tmp_path, began)
    fleeting = system_prompt(configuration(keeps_files=False), tmp_path, began)
    assert "its files go when" in fleeting
    assert "files stay" not in fleeting
