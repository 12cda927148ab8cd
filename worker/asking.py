"""Programs that want an answer of somebody who is not there: how they show, and what to tell the model."""

from __future__ import annotations

import re

ADVICE = (
    "It seems to have asked for input, and nobody is there to give any: stdin is empty and there is no terminal. Give"
    " the answer with the call: by a flag (-y, --yes, --no-input), by a pipe or heredoc (printf 'y\\n' | ...), or by a"
    " variable of the environment."
)

_QUESTION = re.compile(
    rb"(\?|[\[(](y(es)?|n(o)?)/(y(es)?|n(o)?)[^\])]*[\])]|(pass(word|phrase|code)|user(name)?|login|e-?mail|token|name)"
    rb"[^\n]{0,80}:|press (any key|enter|return)[^\n]{0,40}|(continue|proceed|overwrite|replace|abort)[^\n]{0,40}[:?]"
    rb"|enter [^\n]{1,60}:)[\s>:]*(\x1b\[[0-9;?]*[a-zA-Z])*\s*$",
    re.IGNORECASE,
)
_NOBODY = re.compile(
    r"EOFError: EOF when reading a line|(is not|not) a (tty|terminal)|inappropriate ioctl for device"
    r"|terminal prompts disabled|a terminal is required|no tty present|error opening terminal|terminal is not fully"
    r"|requires? a (tty|terminal)|could not read (username|password)|must be run from a terminal|cannot prompt"
    r"|no such device or address: '?/dev/tty|/dev/tty: no such device|ERR_TTY|non-?interactive (mode|terminal)",
    re.IGNORECASE,
)


def asks(tail: bytes) -> bool:
    """Whether the last thing printed is a question that waits on its line."""
    line = tail.rpartition(b"\n")[2][-400:]
    return bool(line.strip()) and bool(_QUESTION.search(line))


def missed_somebody(text: str) -> bool:
    """Whether a command that failed says that it could not ask."""
    tail = text[-3000:]
    return bool(_NOBODY.search(tail)) or asks(tail.rstrip("\n").encode(errors="replace"))
