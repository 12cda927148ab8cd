"""Whether the agent goes round in circles: a pure judgement of its newest actions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from nightshift.models import Item

MEMORY = 8
"""Actions that are looked back on."""
SAME, ERRORS, ALTERNATING, TALKS = 4, 3, 6, 4
"""Actions in a row: the same with the same result, the same error, two that take turns, talk and no deed."""
_ALIKE = 0.9
_TALK = {"message_user", "todo", "set_title"}
"""Tools that change nothing but what the user sees."""
_WAITING = re.compile(r"\b(sleep|wait|watch|ps|pgrep|jobs|poll|background)\b|\btail -f\b|\bgh (run|pr checks)\b")
"""A call with such a word in it looks after a long job: that its answer stays the same is no sign of anything."""
_PASSING = re.compile(r"\b\d+(\.\d+)?\s?(ms|s|sec|seconds|minutes)\b|\b\d{1,2}:\d{2}(:\d{2})?(\.\d+)?\b|0x[0-9a-f]+")
"""Durations, clock times, addresses: they differ in results that say the same."""


@dataclass(frozen=True)
class Action:
    """A tool call and what came of it."""

    name: str
    arguments: str
    result: str
    is_error: bool
    waits: bool

    @classmethod
    def of(cls, call: Item, output: Item) -> Action:
        arguments = _canonical(call.arguments or "")
        name = call.name or ""
        waits = bool(_WAITING.search(arguments) or _WAITING.search(name.replace("_", " ")))
        return cls(name, arguments, _PASSING.sub("#", output.text)[:10_000], output.is_error, waits)


def reason(actions: Sequence[Action]) -> str | None:
    """Why the agent is stuck, in words for it and for the user; None if it is not. Newest last."""
    checks = (_same, _error, _alternation, _talk)
    return next((why for check in checks if (why := check(actions))), None)


def _same(actions: Sequence[Action]) -> str | None:
    last = _newest(actions, SAME)
    if last and len(set(last)) == 1:
        return f"the same call of {last[0].name} gave the same result {SAME} times"
    return None


def _error(actions: Sequence[Action]) -> str | None:
    last = _newest(actions, ERRORS)
    if last and all(each.is_error for each in last) and len({(each.name, each.result) for each in last}) == 1:
        return f"{last[0].name} failed with the same error {ERRORS} times"
    return None


def _alternation(actions: Sequence[Action]) -> str | None:
    last = _newest(actions, ALTERNATING)
    if last and len({*last[::2]}) == 1 and len({*last[1::2]}) == 1 and last[0] != last[1]:
        return f"{last[0].name} and {last[1].name} took turns {ALTERNATING // 2} times with the same results"
    return None


def _talk(actions: Sequence[Action]) -> str | None:
    last = _newest(actions, TALKS)
    if last and all(each.name in _TALK for each in last) and len({each.name for each in last}) == 1:
        first = last[0].arguments
        if all(SequenceMatcher(None, first, each.arguments).ratio() >= _ALIKE for each in last[1:]):
            return f"{TALKS} times almost the same was said, and nothing done"
    return None


def _newest(actions: Sequence[Action], count: int) -> Sequence[Action]:
    """Empty if there are not so many, or one of them only waits for something."""
    last = list(actions)[-count:]
    return last if len(last) == count and not any(each.waits for each in last) else []


def _canonical(arguments: str) -> str:
    try:
        parsed: Any = json.loads(arguments)
    except ValueError:
        return arguments
    return json.dumps(parsed, sort_keys=True, ensure_ascii=False)
