"""Items of the log as rows: what a tool's one line says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightshift.models import Approval, Effect, Item, ItemKind
from nightshift.rows import SMALL, rows

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def item(seq: int, kind: ItemKind, text: str = "", **fields: Any) -> Item:
    return Item(seq=seq, kind=kind, text=text, created_at=NOON + timedelta(seconds=seq), **fields)


def call(seq: int, arguments: str, name: str = "shell", call_id: str = "c") -> Item:
    return item(seq, ItemKind.TOOL_CALL, name=name, arguments=arguments, call_id=call_id)


def test_a_call_and_its_output_are_one_row() -> None:
    output = item(3, ItemKind.TOOL_OUTPUT, "done", call_id="c")
    running, merged = rows([call(1, "{}")]), rows([call(1, "{}"), item(2, ItemKind.NOTICE, "n"), output])
    assert running[0].state == "running"
    assert [(row.item.seq, row.state) for row in merged] == [(1, "ok"), (2, "running")]
    assert merged[0].output is output


def test_a_call_id_used_again_takes_its_own_output() -> None:
    pair = [call(1, "{}"), item(2, ItemKind.TOOL_OUTPUT, "one", call_id="c")]
    again = [call(3, "{}"), item(4, ItemKind.TOOL_OUTPUT, "two", call_id="c", is_error=True)]
    assert [(row.output and row.output.text, row.state) for row in rows(pair + again)] == [
        ("one", "ok"),
        ("two", "error"),
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ('{"command": "git  push\\n--force"}', "git push --force"),
        ('{"timeout_seconds": 3, "command": "ls"}', "ls"),
        ('{"argv": ["a b", "c"]}', "'a b' c"),
        ('{"number": 7}', "7"),
        ("{}", ""),
        ("not json", "not json"),
        ("[1]", "[1]"),
        ('{"command": "' + "x" * 500 + '"}', "x" * 139 + "…"),
    ],
)
def test_a_calls_line(arguments: str, line: str) -> None:
    assert rows([call(1, arguments)])[0].line == line


def test_a_calls_input_reads_as_text() -> None:
    row = rows([call(1, '{"path": "a.py", "text": "one\\ntwo", "more": null}')])[0]
    assert row.input == "path: a.py\ntext:\none\ntwo"
    assert rows([call(1, '{"command": "a\\nb"}')])[0].input == "a\nb"


def test_an_edit_reads_as_a_diff() -> None:
    row = rows([call(1, '{"path": "a.py", "old": "x = 1\\ny = 2", "new": "x = 3\\ny = 2"}', name="edit")])[0]
    assert row.input == "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n-x = 1\n+x = 3\n y = 2"


def test_a_row_says_how_long_it_took_and_whether_it_waits_for_a_yes() -> None:
    asks = Effect(approval=Approval(action="rm -rf /", reason="It deletes everything."))
    output = item(4, ItemKind.TOOL_OUTPUT, "waits", call_id="c", effect=asks)
    [row] = rows([call(1, "{}"), output])
    assert (row.seconds, row.state) == (3.0, "asks")
    assert row.approval == asks.approval
    assert rows([call(1, "{}")])[0].seconds is None


def test_long_input_or_output_is_left_for_later() -> None:
    assert rows([call(1, "{}"), item(2, ItemKind.TOOL_OUTPUT, "x", call_id="c")])[0].is_small
    assert not rows([call(1, "{}"), item(2, ItemKind.TOOL_OUTPUT, "x" * SMALL, call_id="c")])[0].is_small
