"""From text to seconds."""

import re

from tidytime.units import MILLISECONDS

_PART = r"(\d+(?:\.\d+)?)\s*(d|h|m|s|ms)"
_WHOLE = re.compile(rf"\s*(?:{_PART}\s*)+")


def parse(text: str) -> float:
    """Returns the seconds that `text` ("1h 30m", "2.5s") stands for.

    Raises ValueError for anything that is not a duration.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"not a duration: {text!r}")
    total = 0.0
    for number, unit in re.findall(_PART, text):
        total += float(number) * MILLISECONDS[unit]
    return total / 1000
