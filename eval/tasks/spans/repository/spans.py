"""Spans of time as (start, end)."""

type Span = tuple[int, int]


def merge(spans: list[Span]) -> list[Span]:
    """Without overlaps: spans that overlap or touch become one."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged
