"""A tool call in one line that people can read, for the page and the terminal."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, cast

MACHINE_FOLDER = re.compile(r"/\S*/machines/nightshift-[^/\s]+/home/(workspace/)?")
"""A local machine's own folder, which says nothing to a reader."""
_SPEAKING = ("command", "path", "title", "message", "text", "url", "name", "repository")
"""Of a call's arguments, the ones that tell what it is about, the most telling first."""


def arguments(text: str | None) -> dict[str, Any]:
    """A call's arguments; {} where the model wrote something else."""
    try:
        value: object = json.loads(text or "{}")
    except ValueError:
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def gist(text: str | None) -> str:
    """The most telling argument on one line; what the model wrote as it is, if it is not JSON."""
    known = arguments(text)
    value = next((known[name] for name in _SPEAKING if known.get(name)), next(iter(known.values()), None))
    match value:
        case None:
            line = "" if known or (text or "{}").strip() == "{}" else (text or "")
        case list():
            line = _list(cast(list[object], value))
        case str():
            line = value
        case _:
            line = json.dumps(value, ensure_ascii=False)
    return MACHINE_FOLDER.sub("", " ".join(line.split()))


def _list(values: list[object]) -> str:
    if all(isinstance(value, str) for value in values):
        return shlex.join(cast(list[str], values))
    return f"{len(values)} item{'' if len(values) == 1 else 's'}"


def shortened(line: str, width: int = 100) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"
