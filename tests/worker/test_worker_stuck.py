"""Going round in circles: what counts as it, and what does not."""

from __future__ import annotations

import pytest

from worker.stuck import Action, reason


def done(name: str = "shell", arguments: str = "{}", result: str = "ok", *, error: bool = False) -> Action:
    return Action(name, arguments, result, error, waits=False)


def waiting(result: str) -> Action:
    return Action("shell", '{"command": "sleep 60; gh run view"}', result, False, waits=True)


A, B = done(arguments="a"), done(arguments="b")
FAILS = done(result="no such file", error=True)

STUCK = {
    "the same result 4 times": [A] * 4,
    "the same error 3 times": [done(arguments=each, result="no such file", error=True) for each in "abc"],
    "took turns": [A, B] * 3,
    "almost the same was said": [done("message_user", f"I am about to begin now, attempt {n}") for n in range(4)],
}
NOT_STUCK = {
    "three times": [A] * 3,
    "another result": [A, A, A, done(arguments="a", result="new")],
    "two errors": [FAILS] * 2,
    "errors that differ": [done(result=f"line {n} is wrong", error=True) for n in range(4)],
    "polling": [waiting("in progress")] * 8,
    "alternating with progress": [each for n in range(4) for each in (A, done(arguments="b", result=str(n)))],
    "different words": [done("message_user", text) for text in ("Found it.", "Fixed it!", "Tests run", "Now a PR")],
    "nothing": [],
}


@pytest.mark.parametrize("words", STUCK)
def test_circles_are_told(words: str) -> None:
    assert words in (reason(STUCK[words]) or "")


@pytest.mark.parametrize("case", NOT_STUCK)
def test_work_is_no_circle(case: str) -> None:
    assert reason(NOT_STUCK[case]) is None
