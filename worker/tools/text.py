"""Output that is longer than a model should read: its head and tail, the whole in a file."""

from __future__ import annotations

from pathlib import Path

LIMIT = 30_000
"""Characters."""


def cut(text: str, whole: str, limit: int = LIMIT) -> str:
    """Head and tail of the text if it is over the limit; `whole` says where all of it can be read."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n\n[... {len(text) - limit} characters left out; {whole} ...]\n\n{text[-half:]}"


def read(path: Path) -> str:
    """What a process printed. Bytes that are no UTF-8 become U+FFFD; only head and tail of a large file are read."""
    size, window = path.stat().st_size, LIMIT * 4
    with path.open("rb") as file:
        content = file.read(window)
        if size > 2 * window:
            file.seek(-window, 2)
            content += b"\n[... %d bytes ...]\n" % (size - 2 * window) + file.read()
        else:
            content += file.read()
    return cut(content.decode(errors="replace"), f"the whole output is in {path}")
