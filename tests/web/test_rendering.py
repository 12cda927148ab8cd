"""Markdown and tool rows: what they look like, and that nothing in them can run."""

from __future__ import annotations

import re

import pytest

from nightshift.rendering import MAX_MARKDOWN, MAX_SHOWN, left_out, markdown, preformatted, web_url

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
    text = "<script>alert(1)</script>" + "x" * MAX_SHOWN
    html = preformatted(text)
    assert "<script" not in html
    assert html.count("x") == MAX_SHOWN - 25
    assert left_out(text) == 25


def test_a_diff_is_coloured_and_escaped() -> None:
    html = preformatted("Edited.\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+<script>")
    assert '<span class="hl-gd">-old</span>' in html
    assert '<span class="hl-gi">+&lt;script&gt;</span>' in html


@pytest.mark.parametrize("url", ["javascript:alert(1)", " javascript:x", "data:text/html,x", "//a.example", ""])
def test_only_web_urls_are_linked(url: str) -> None:
    assert web_url(url) is None
