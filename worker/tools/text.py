"""Output that is longer than a model should read: its head and tail, the whole in a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

LIMIT = 30_000
"""Characters."""
WORD = 4000
"""Characters that are looked through for a blank to cut at."""


def cut(text: str, whole: str, limit: int = LIMIT) -> str:
    """Head and tail of the text if it is over the limit; `whole` says where all of it can be read."""
    if len(text) <= limit:
        return text
    half = limit // 2
    head, tail = half, len(text) - half
    # Half a word might be half a secret, which nobody would recognise.
    if word := re.search(r"\s\S*\Z", text[max(0, head - WORD) : head]):
        head -= len(word[0])
    if word := re.match(r"\S*\s", text[tail : tail + WORD]):
        tail += len(word[0]) - 1
    return f"{text[:head]}\n\n[... {tail - head} characters left out; {whole} ...]\n\n{text[tail:]}"


def read(path: Path, start: int = 0) -> str:
    """What a process printed, from byte `start` on. Bytes that are no UTF-8 become U+FFFD; only head and tail of much
    are read."""
    window = LIMIT * 4
    # Not by way of a link: a tool may have laid one there.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        size = os.fstat(file.fileno()).st_size - start
        file.seek(start)
        content = file.read(window)
        if size > 2 * window:
            file.seek(-window, 2)
            content += b"\n[... %d bytes ...]\n" % (size - 2 * window) + file.read()
        else:
            content += file.read()
    return cut(content.decode(errors="replace"), f"the whole output is in {path}")
