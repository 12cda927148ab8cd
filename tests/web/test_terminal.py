"""What a terminal shows, as HTML: colours, and nothing that can do harm."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.terminal import terminal_html


@pytest.mark.parametrize(
    ("printed", "html"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m off", '<span class="t-red">red</span> off'),
        (
            "\x1b[1;92mbright\x1b[22m not bold",
            '<span class="t-bold t-green">bright</span><span class="t-green"> not bold</span>',
        ),
        ("\x1b[31ma\x1b[39mb\x1b[32mc", '<span class="t-red">a</span>b<span class="t-green">c</span>'),
        ("\x1b[38;5;1ma\x1b[38;2;1;2;3mb\x1b[mc", '<span class="t-red">a</span>bc'),
        ("\x1b[48;5;4mground\x1b[7m", "ground"),
        ("10%\r50%\r100%\ndone\r\n", "100%\ndone\n"),
        ("\x1b[2K\x1b[1Aup\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "uplink"),
        ("bell\x07 \x00nul\x08", "bell nul"),
        ("\x1b", ""),
        ("\x1b[", ""),
        ("\x1b[38;5m", ""),
        ("\x1b[" + "9" * 5000 + "m", ""),  # more digits than Python makes a number of
        ("\x1b[31m<b>&\x1b[0m", '<span class="t-red">&lt;b&gt;&amp;</span>'),
    ],
)
def test_codes_become_classes(printed: str, html: str) -> None:
    assert terminal_html(printed) == html


@given(st.text(alphabet=st.sampled_from("\x1b[]0139;mK<>&\"'a\r\n\x07\\ P"), max_size=60))
def test_nothing_but_spans_with_known_classes_comes_out(printed: str) -> None:
    html = str(terminal_html(printed))
    rest = re.sub(r'<span class="t-[a-z]+(?: t-[a-z]+)*">|</span>', "", html)
    assert not re.search(r'[<>"\x1b\x00-\x08]', rest)
    assert html.count("<span") == html.count("</span>")
