"""The log's items as rows of a page: a tool's call and its output are one."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from nightshift.gist import arguments as call_arguments
from nightshift.gist import gist, shortened
from nightshift.models import Approval, FileRef, Item, ItemKind

MAX_LINE = 140
SMALL = 1500
"""Characters that are sent along with a folded row; more is fetched when it is opened."""


@dataclass
class Row:
    """What a page shows of one item, or of a call with its output."""

    item: Item
    output: Item | None = None

    @property
    def result(self) -> Item | None:
        return self.item if self.item.kind is ItemKind.TOOL_OUTPUT else self.output

    @property
    def state(self) -> str:
        """Of a tool: running, asks, ok or error."""
        result = self.result
        if result is None:
            return "running"
        if self.approval is not None:
            return "asks"
        return "error" if result.is_error else "ok"

    @property
    def line(self) -> str:
        """What a call does, in one line: the argument that says most."""
        return shortened(gist(self.item.arguments), MAX_LINE)

    @property
    def seconds(self) -> float | None:
        """From the call to its output."""
        if self.output is None:
            return None
        return max(0.0, (self.output.created_at - self.item.created_at).total_seconds())

    @property
    def approval(self) -> Approval | None:
        """A risky action that waits, or waited, for the user's yes."""
        effect = self.result.effect if self.result else None
        return effect.approval if effect else None

    @property
    def files(self) -> list[FileRef]:
        return self.item.files + (self.output.files if self.output else [])

    @property
    def is_small(self) -> bool:
        return len(self.item.arguments or "") + len(self.result.text if self.result else "") <= SMALL

    @property
    def input(self) -> str:
        """A call's arguments for reading: text as it is, not as JSON escapes it; a replacement as a diff."""
        if self.diff:
            return self.diff
        arguments = call_arguments(self.item.arguments)
        if not arguments:
            return gist(self.item.arguments)
        if len(arguments) == 1:
            return _plain(*arguments.values())
        return "\n".join(_named(name, _plain(value)) for name, value in arguments.items() if value is not None)

    @property
    def diff(self) -> str:
        """Of a call that replaces one text by another; "" of every other."""
        arguments = call_arguments(self.item.arguments)
        old, new, path = (arguments.get(name) for name in ("old", "new", "path"))
        if not isinstance(old, str) or not isinstance(new, str):
            return ""
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), f"a/{path}", f"b/{path}", lineterm="")
        return "\n".join(lines)


def rows(items: Iterable[Item]) -> list[Row]:
    """Rows in order of seq; `items` come in that order. An output without its call stands alone."""
    result: list[Row] = []
    calls: dict[str | None, Row] = {}
    for item in items:
        if item.kind is ItemKind.TOOL_OUTPUT and item.call_id in calls:
            calls[item.call_id].output = item
            continue
        result.append(Row(item))
        if item.kind is ItemKind.TOOL_CALL:
            calls[item.call_id] = result[-1]
    return result


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in cast(list[object], value)):
        return shlex.join(cast(list[str], value))
    return json.dumps(value, ensure_ascii=False, indent=2) if value is not None else ""


def _named(name: str, value: str) -> str:
    return f"{name}:\n{value}" if "\n" in value else f"{name}: {value}"
