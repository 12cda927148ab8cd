"""Replacing an exact piece of text, and saying what is alike when it does not occur. Pure."""

from __future__ import annotations

import difflib
import re

from nightshift.errors import ModelRetry

MOST_LINES = 20_000
"""Of a file that is looked through for something alike."""


def replaced(content: str, old: str, new: str, name: str, *, everywhere: bool) -> str:
    """Line endings stay as they are where the replaced piece stood. Raises ModelRetry saying how to mend the call."""
    if not old:
        raise ModelRetry("`old` is empty. To write a whole file use create, to add lines use insert.")
    if old == new:
        raise ModelRetry("`old` and `new` are the same.")
    if old not in content and "\r\n" in content:
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    count = content.count(old)
    if count == 0:
        raise ModelRetry(f"`old` does not occur in {name}.{near(old, content)}")
    if count > 1 and not everywhere:
        raise ModelRetry(
            f"`old` occurs {count} times in {name} ({_places(old, content)}): give more lines around it, or say"
            " replace_all."
        )
    return content.replace(old, new)


def near(old: str, content: str) -> str:
    """What of the content looks like it, with its place."""
    lines = content.split("\n")[:MOST_LINES]
    if blanks := _but_for_blanks(old, lines):
        first, last = blanks
        shown = "\n".join(_visible(line) for line in lines[first:last])
        return (
            f" Lines {first + 1} to {last} differ from it in blanks only. There (→ is a tab, · a blank at an end of a"
            f" line):\n{shown}"
        )
    numbered = re.sub(r"(?m)^ *\d+\t", "", old)
    if numbered != old and numbered in content:
        return " It does without the line numbers, which view shows and the file does not have."
    wanted = max((line.strip() for line in old.split("\n")), key=len, default="")[:500]
    stripped = [line.strip()[:500] for line in lines]
    close = difflib.get_close_matches(wanted, set(stripped), n=3, cutoff=0.6) if wanted else []
    numbers = [number for number, line in enumerate(stripped) if line in close][:5]
    if not numbers:
        return " Nothing in it looks alike; view the file."
    return " These lines look alike:\n" + "\n".join(f"{number + 1:6}\t{lines[number][:500]}" for number in numbers)


def _but_for_blanks(old: str, lines: list[str]) -> tuple[int, int] | None:
    """The first lines that are the same when blanks count for nothing."""
    wanted = [_squeezed(line) for line in old.strip("\n").split("\n")]
    if not any(wanted):
        return None
    have = [_squeezed(line) for line in lines]
    for start in range(len(have) - len(wanted) + 1):
        if have[start : start + len(wanted)] == wanted:
            return start, start + len(wanted)
    return None


def _squeezed(line: str) -> str:
    return re.sub(r"\s+", "", line)


def _visible(line: str) -> str:
    body = line.rstrip("\r\n \t")
    end = line[len(body) :].replace("\r", "").replace("\t", "→").replace(" ", "·")
    return body.replace("\t", "→") + end


def _places(old: str, content: str) -> str:
    numbers: list[str] = []
    start = content.find(old)
    while start >= 0 and len(numbers) < 10:
        numbers.append(str(content.count("\n", 0, start) + 1))
        start = content.find(old, start + len(old))
    return "line " + ", ".join(numbers)
