"""From seconds to text."""

from tidytime.units import MILLISECONDS


def format(seconds: float) -> str:
    """Returns the shortest text of whole units ("1h 30m") for `seconds`, rounded to milliseconds.

    Raises ValueError for a negative duration.
    """
    if seconds < 0:
        raise ValueError(f"negative duration: {seconds!r}")
    rest = round(seconds * 1000)
    parts: list[str] = []
    for unit, size in MILLISECONDS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
