"""What the two APIs share."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from nightshift.models import EFFORTS, Effort, Tokens
from worker.model.port import Items, Stop


@dataclass(frozen=True)
class Answer:
    """What came back, as Responses items."""

    output: Items
    tokens: Tokens
    stop: Stop


def effort(wanted: Effort | None, lacks: Collection[str]) -> Effort | None:
    """The nearest that the model takes, rather less than more. What it refused is in `lacks` as `effort:high`."""
    if wanted is None:
        return None
    at = EFFORTS.index(wanted)
    nearest = EFFORTS[at::-1] + EFFORTS[at + 1 :]
    return next((each for each in nearest if f"effort:{each}" not in lacks), None)


def callable_name(name: str) -> str:
    """Models make up names that their own API then refuses to read, and with them the conversation for ever."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "_"


def without_strict(tools: Items) -> Items:
    return [{key: value for key, value in tool.items() if key != "strict"} for tool in tools]


def objects_of(value: Any) -> Items:
    """[] for whatever else a server may put there."""
    return [object_of(part) for part in cast(list[Any], value)] if isinstance(value, list) else []


def object_of(value: Any) -> dict[str, Any]:
    """{} for whatever else a server may put there."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
