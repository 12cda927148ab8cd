"""Markdown and tool rows: what they look like, and that nothing in them can run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from nightshift.models import Item, ItemKind
from nightshift.rendering import MAX_MARKDOWN, MAX_SHOWN, markdown, preformatted, rows, web_url


def item(seq: int, kind: ItemKind, text: str = "", **fields: Any) -> Item:
    return Item(seq=seq, kind=kind, text=text, created_at=datetime.now(UTC), **fields)


def call(seq: int, arguments: str, name: str = "shell", call_id: str = "c") -> Item:
    return item(seq, ItemKind.TOOL_CALL, name=name, arguments=arguments, call_id=call_id)


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](&#x6A;avascript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "[click](vbscript:x)",
    '[click](http://a.example "x\\" onmouseover=alert(1) y=\\"")',
    "![x](javascript:alert(1))",
    '![a"onerror="alert(1)](http://a.example/x.png)',
    "<javascript:alert(1)>",
    "[ref]\n\n[ref]: javascript:alert(1)",
    "```html\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "`<script>alert(1)</script>`",
    "<svg/onload=alert(1)>",
    "<style>body{display:none}</style>",
    "| a |\n|:-:|\n| <script>alert(1)</script> |",
    "x" * (MAX_MARKDOWN + 1) + "<script>alert(1)</script>",
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda text: text[:30])
def test_markdown_lets_nothing_run(attack: str) -> None:
    html = markdown(attack)
    assert not re.search(r"<(script|img|svg|style|iframe|object)", html, re.IGNORECASE)
    for tag in re.findall(r"<[a-z][^>]*>", html):
        assert not re.search(r"\son\w+\s*=|\sstyle\s*=", re.sub(r'"[^"]*"', '""', tag)), tag
        assert not re.search(r'href="\s*(javascript|data|vbscript):', tag, re.IGNORECASE), tag


def test_markdown_is_githubs() -> None:
    html = markdown("# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n~~old~~ https://example.com\none\ntwo")
    assert "<h1>T</h1>" in html
    assert '<div class="wide"><table>' in html
    assert "<s>old</s>" in html
    assert 'href="https://example.com"' in html
    assert "one<br>" in html


def test_links_open_apart_and_tell_nothing() -> None:
    html = markdown("[a](https://example.com)")
    assert 'target="_blank"' in html
    assert 'rel="noopener noreferrer"' in html


def test_images_become_links() -> None:
    assert '<a href="https://example.com/p.png"' in markdown("![picture](https://example.com/p.png)")


def test_code_is_coloured_and_an_unknown_language_is_not() -> None:
    assert '<span class="hl-k">def</span>' in markdown("```python\ndef f(): ...\n```")
    assert "a &lt; b" in markdown("```no-such-language\na < b\n```")


def test_tool_output_is_escaped_and_cut() -> None:
    html = preformatted("<script>alert(1)</script>" + "x" * MAX_SHOWN)
    assert "<script" not in html
    assert "Cut here: 25 more characters." in html


def test_a_diff_is_coloured_and_escaped() -> None:
    html = preformatted("Edited.\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+<script>")
    assert '<span class="hl-gd">-old</span>' in html
    assert '<span class="hl-gi">+&lt;script&gt;</span>' in html


@pytest.mark.parametrize("url", ["javascript:alert(1)", " javascript:x", "data:text/html,x", "//a.example", ""])
def test_only_web_urls_are_linked(url: str) -> None:
    assert web_url(url) is None


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
