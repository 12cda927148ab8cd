"""What the scripted model does in the demo: scenes as data. There is no intelligence in it.

`{folder}`, `{repository}`, `{number}`, `{session}` and `{pull_request}` are filled in from the request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

STRANGE = (
    "I am a scripted demo model: there is no intelligence behind me. I can work on the sample repository's issue"
    " (ask me to fix acme/tidytime#1) and then add a line to its changelog. For anything else configure a real model."
)
TEST = "cd {folder} && python3 -B -m unittest"
"""-B: the edit is made within a second and keeps the file's size, which is all that a cached .pyc goes by."""
TODO = ("Reproduce the bug", "Fix it", "Run all tests", "Open a pull request")


@dataclass(frozen=True)
class Call:
    name: str
    arguments: dict[str, Any] | str
    """As text they are sent as they are, valid JSON or not."""
    thought: str = ""


@dataclass(frozen=True)
class Scene:
    """`calls`, one after the other, when a message of the user matches; then `answer`."""

    match: re.Pattern[str]
    calls: tuple[Call, ...]
    answer: str


def shell(command: str, thought: str = "", timeout_seconds: int | None = None) -> Call:
    return Call("shell", {"command": command, "timeout_seconds": timeout_seconds}, thought)


def todo(done: int) -> Call:
    """The first ones done, the next one under way."""
    states = ["done"] * done + ["in_progress"] + ["pending"] * len(TODO)
    return Call("todo", {"items": [{"text": text, "status": states[n]} for n, text in enumerate(TODO)]})


FIX = Scene(
    re.compile(r"(?i)(#|/issues/|issue )\d+"),
    (
        Call("set_title", {"title": "Milliseconds are read as minutes"}),
        Call("issue_read", {"repository": "{repository}", "number": "{number}"}, "The issue first."),
        Call("clone", {"repository": "{repository}"}),
        todo(0),
        shell(TEST, "The issue says that a test fails already. I run all of them to see it."),
        Call("view", {"path": "{folder}/tidytime/parsing.py", "first_line": None, "last_line": None}),
        todo(1),
        Call(
            "edit",
            {
                "path": "{folder}/tidytime/parsing.py",
                "old": '_PART = r"(\\d+(?:\\.\\d+)?)\\s*(d|h|m|s|ms)"',
                "new": '_PART = r"(\\d+(?:\\.\\d+)?)\\s*(d|h|ms|m|s)"',
            },
            "The pattern tries `m` before `ms`, so findall reads 1500ms as 1500m and drops the s.",
        ),
        todo(2),
        shell(TEST),
        shell(
            "cd {folder} && (git switch -c nightshift/{session} || git switch nightshift/{session})"
            " && git commit -am 'Read milliseconds before minutes' && git show --stat"
        ),
        todo(3),
        Call(
            "pull_request",
            {
                "repository": "{repository}",
                "title": "Read milliseconds before minutes",
                "body": "`parse` tried `m` before `ms`, so `1500ms` was read as 1500 minutes. The longer unit now comes"
                " first.\n\n`python3 -m unittest` passes; `test_milliseconds` failed before.\n\nFixes #{number}",
                "base": None,
            },
        ),
        todo(4),
    ),
    "Fixed: `1500ms` is 1.5 seconds again. The pattern in `tidytime/parsing.py` tried `m` before `ms`; the longer unit"
    " now comes first. All tests pass, `test_milliseconds` among them.\n\nPull request: {pull_request}",
)

CHANGELOG = Scene(
    re.compile(r"(?i)changelog"),
    (
        Call(
            "edit",
            {
                "path": "{folder}/CHANGELOG.md",
                "old": "- `format` rounds to whole milliseconds.\n",
                "new": "- `format` rounds to whole milliseconds.\n- `parse` reads `ms` as milliseconds, not minutes.\n",
            },
        ),
        shell(TEST),
        shell("cd {folder} && git commit -am 'Tell of the fix in the changelog' && git show --stat"),
        Call(
            "pull_request",
            {
                "repository": "{repository}",
                "title": "Read milliseconds before minutes",
                "body": "`parse` tried `m` before `ms`, so `1500ms` was read as 1500 minutes. The longer unit now comes"
                " first, and the changelog says so.\n\n`python3 -m unittest` passes.\n\nFixes #{number}",
                "base": None,
            },
        ),
    ),
    'The changelog has its line under "Unreleased", and the pull request is updated: {pull_request}',
)

SCENES = (CHANGELOG, FIX)
"""The first match counts: 'add a changelog line to #1' is the second scene, not the first."""
