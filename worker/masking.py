"""What leaves the worker is free of secrets, and of what UTF-8 cannot carry.

Known secrets are found plain and in the forms that tools print them in: base64 at any alignment, hex, percent-encoded,
escaped. What merely has the shape of a credential is hidden too, but only in what the machine or the world brought in
(`found=True`): in the model's own words and arguments it would change what is done.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "[secret removed]"
SHORTEST = 6
"""A shorter value would mask innocent text."""
LONGEST = 16_000
"""Characters of a secret or a key block that are held together when text comes in pieces."""
BEFORE = 8
"""Characters that a pattern may look back."""
OPAQUE = frozenset({"encrypted_content"})
"""Fields that are passed on as they are: encrypted by somebody else, and refused if a letter changes."""

# Every branch begins with a plain letter, and what must stand before it is looked for behind that: so the engine skips
# to letters that can begin a match. A branch with a group hides the group only.
SHAPES = "|".join((
    r"g(?<![\w]g)h[pousr]_[A-Za-z0-9]{36,255}(?!\w)",
    r"g(?<![\w]g)hs_[A-Za-z0-9]+_eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}",
    r"g(?<![\w]g)ithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
    r"A(?<![\w/+]A)(?:KIA|SIA)[A-Z2-7]{16}(?![\w/+=])(?<!EXAMPLE)",
    r"a(?<!\wa)ws_secret_access_key[\"']?\s{0,3}[=:]\s{0,3}[\"']?([A-Za-z0-9/+]{40})(?![\w/+=])",
    r"A(?<!\wA)WS_SECRET_ACCESS_KEY[\"']?\s{0,3}[=:]\s{0,3}[\"']?([A-Za-z0-9/+]{40})(?![\w/+=])",
    r"S(?<!\wS)ecretAccessKey[\"']?\s{0,3}[=:]\s{0,3}[\"']?([A-Za-z0-9/+]{40})(?![\w/+=])",
    r"A(?<!\wA)ccountKey=([A-Za-z0-9+/]{86}==)",
    r"S(?<!\wS)haredAccessKey=([A-Za-z0-9+/]{43}=)",
    r"s(?<=[?&;]s)ig=([A-Za-z0-9+/%_-]{40,}(?:%3[dD]|=)?)",
    r"x(?<![\w-]x)ox[abeoprs]-[A-Za-z0-9-]{20,}",
    r"s(?<![\w-]s)k-(?:proj-|svcacct-|ant-[a-z]+\d+-)?[A-Za-z0-9_-]{40,}(?![\w-])",
    r"e(?<![\w.-]e)yJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}",
    rf"-----BEGIN (?:[A-Z]+ ){{0,2}}PRIVATE KEY(?: BLOCK)?-----[^-]{{40,{LONGEST}}}(?:-----END [A-Z ]*-----)?",
))  # fmt: skip
KEY_BLOCK = "-----BEGIN "


class Secrets:
    def __init__(self, *values: str) -> None:
        self._values: set[str] = set()
        self._reach = 0
        self._known: re.Pattern[str] | None = None
        self._all = re.compile(SHAPES)
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        if len(value) < SHORTEST or value in self._values:
            return
        self._values.add(value)
        forms = {form for value in self._values for form in _forms(value)}
        known = "|".join(sorted(forms, key=len, reverse=True))
        self._reach = min(LONGEST, max(map(len, forms)))
        self._known = re.compile(known)
        self._all = re.compile(f"{known}|{SHAPES}")

    def mask(self, value: Any, *, found: bool = False) -> Any:
        """The same value (text, dict, list) without known secrets; `found`: without what looks like one, too."""
        pattern = self._all if found else self._known
        if pattern is None:
            return value
        return _rewrite(value, lambda text: _hide(pattern, text))

    def stream(self) -> Stream:
        """For text that comes in pieces, whose boundaries may cut a secret in two."""
        return Stream(self)

    @property
    def pattern(self) -> re.Pattern[str]:
        """Of every known secret in every form, and of what has a secret's shape. A group hides the group only."""
        return self._all

    @property
    def reach(self) -> int:
        """Characters of the longest form of a known secret."""
        return self._reach


class Stream:
    def __init__(self, secrets: Secrets) -> None:
        self._window = _Window(secrets)

    def feed(self, piece: str) -> str:
        """What can be shown already: the last word is held back, for it may be the beginning of a secret."""
        self._window.add(piece)
        return self._show(self._window.decided())

    def close(self) -> str:
        """The rest. More may follow, at the risk that it is the rest of a secret."""
        return self._show(len(self._window.text))

    def _show(self, until: int) -> str:
        shown, at, text = "", self._window.at, self._window.text
        for start, end in self._window.spans(until):
            shown, at = shown + text[at:start] + HIDDEN, end
        return shown + text[at : self._window.at]


class _Window:
    """The part of a longer text that is not decided yet, with a little of what came before."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets  # it may learn of more while the text comes
        self.text = ""
        self.at = 0
        """Everything before is decided."""

    def add(self, piece: str) -> None:
        known = max(0, self.at - BEFORE)
        self.text, self.at = self.text[known:] + piece, self.at - known

    def decided(self) -> int:
        """Where the part begins that may be half a secret: the last word, or a key whose block is still open."""
        length = len(self.text)
        low = max(self.at, length - LONGEST)
        blank = max(self.text.rfind(blank, low) for blank in " \n\t")
        until = min(length - self._secrets.reach, blank + 1 if blank >= 0 else low)
        block = self.text.rfind(KEY_BLOCK, low)
        if block >= 0 and "-----END " not in self.text[block:]:
            until = min(until, block)
        return max(self.at, until)

    def spans(self, until: int) -> Iterator[tuple[int, int]]:
        """What is to be hidden before `until`, which becomes what is decided."""
        for match in self._secrets.pattern.finditer(self.text, self.at):
            if match.end() > until:
                until = min(until, match.start())
                break
            yield match.span(match.lastindex or 0)
        self.at = until


def storable(value: Any) -> Any:
    """The same value without lone surrogates, which file names and odd JSON escapes bring and no store takes."""
    return _rewrite(value, lambda text: text.encode(errors="replace").decode())


def _forms(value: str) -> Iterator[str]:
    """Regular expressions of everything that reads as this value."""
    data = value.encode()
    escaped = json.dumps(value)[1:-1]
    texts = {value, escaped, json.dumps(value, ensure_ascii=False)[1:-1], escaped.replace("/", "\\/")}
    texts |= {html.escape(value)}
    texts |= {text.encode().decode("latin-1") for text in texts}  # as a file's bytes are read
    yield from map(re.escape, texts)
    for text in {quote(value, safe=""), quote_plus(value), quote(value)} - texts:
        yield re.sub("%([0-9A-F]{2})", lambda code: f"%(?:{code[1]}|{code[1].lower()})", re.escape(text))
    for digits in (data.hex(), data.hex().upper()):
        yield r"[\s:]?".join(re.findall("..", digits))  # dumps group and wrap their digits
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        # Letters that also hold bits of what stands before or after are not this value's own.
        own = encoded[(0, 2, 3)[offset] : len(encoded) - ((len(data) + offset) % 3 > 0)]
        if len(own) >= SHORTEST + 2:
            for alphabet in {own, own.translate(str.maketrans("+/", "-_"))}:
                yield r"\s{0,2}".join(map(re.escape, alphabet))  # `base64` breaks its lines


def _hide(pattern: re.Pattern[str], text: str) -> str:
    def hidden(match: re.Match[str]) -> str:
        start, end = match.span(match.lastindex or 0)
        return text[match.start() : start] + HIDDEN + text[end : match.end()]

    return pattern.sub(hidden, text)


def _rewrite(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        parts: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {_rewrite(key, change): part if key in OPAQUE else _rewrite(part, change) for key, part in parts.items()}
    if isinstance(value, list):
        entries: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [_rewrite(part, change) for part in entries]
    return value
