"""What a terminal would show of a program's output, as safe HTML: colours as classes, the rest of its codes dropped."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_CODE = re.compile(
    r"\x1b(?:"
    r"\[(?P<numbers>[0-9;:]*)(?P<letter>[ -/]*[@-~])"  # CSI: colours end with m, the others move or erase
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles and links
    r"|[PX^_][^\x1b]*(?:\x1b\\)?"  # strings for the terminal itself
    r"|[ -/]*[0-~]?"
    r")"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
_STYLES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 9: "strike"}
_OFF = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 29: ("strike",)}


def terminal_html(text: str) -> Markup:
    """Colours become `<span class="t-red">`; a line that was written over and over shows what it ended as."""
    if "\r" in text:
        text = "\n".join(_overwritten(line) for line in text.split("\n"))
    if "\x1b" not in text:
        return escape(_CONTROL.sub("", text))
    pieces: list[Markup] = []
    style: set[str] = set()
    position = 0
    for code in _CODE.finditer(text):
        pieces.append(_piece(text[position : code.start()], style))
        position = code.end()
        if code["letter"] == "m":
            style = _changed(style, code["numbers"])
    pieces.append(_piece(text[position:], style))
    return Markup("").join(pieces)


def _overwritten(line: str) -> str:
    """A carriage return goes back to the line's start: what came last stays."""
    return next((part for part in reversed(line.split("\r")) if part), "")


def _piece(text: str, style: set[str]) -> Markup:
    text = _CONTROL.sub("", text)
    if not style or not text:
        return escape(text)
    return Markup('<span class="{}">{}</span>').format(" ".join(f"t-{name}" for name in sorted(style)), text)


_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


def _changed(style: set[str], numbers: str) -> set[str]:
    """The style after a select-graphic-rendition code."""
    style = set(style)
    codes = [int(number[:4]) for number in re.split("[;:]", numbers) if number] or [0]
    while codes:
        code = codes.pop(0)
        if code == 0:
            style.clear()
        elif code in _STYLES:
            style.add(_STYLES[code])
        elif code in _OFF:
            style.difference_update(_OFF[code])
        elif code in (38, 48):  # 256 and 24-bit colours: of the 256 the first sixteen are ours
            kind = codes.pop(0) if codes else 0
            values = [codes.pop(0) for _ in range(min(len(codes), 1 if kind == 5 else 3 if kind == 2 else 0))]
            if code == 38:
                style = _coloured(style, _COLOURS[values[0] % 8] if kind == 5 and values and values[0] < 16 else None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = _coloured(style, _COLOURS[code % 10])
        elif code == 39:
            style = _coloured(style, None)
    return style


def _coloured(style: set[str], colour: str | None) -> set[str]:
    return style.difference(_COLOURS) | ({colour} if colour else set())
