"""What leaves the worker is free of known secrets, and of what UTF-8 cannot carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

HIDDEN = "[secret removed]"
SHORTEST = 6
"""A shorter value would mask innocent text."""


class Secrets:
    def __init__(self, *values: str) -> None:
        self._values: set[str] = set()
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        if len(value) >= SHORTEST:
            self._values.add(value)

    def mask(self, value: Any) -> Any:
        """The same value (text, dict, list) with every known secret replaced."""
        return _rewrite(value, self._hide)

    def mask_file(self, path: Path) -> None:
        content = path.read_bytes()
        cleaned = content
        for secret in self._values:
            cleaned = cleaned.replace(secret.encode(), HIDDEN.encode())
        if cleaned != content:
            path.write_bytes(cleaned)

    def _hide(self, text: str) -> str:
        for secret in self._values:
            text = text.replace(secret, HIDDEN)
        return text


def storable(value: Any) -> Any:
    """The same value without lone surrogates, which file names and odd JSON escapes bring and no store takes."""
    return _rewrite(value, lambda text: text.encode(errors="replace").decode())


def _rewrite(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        parts: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {_rewrite(key, change): _rewrite(part, change) for key, part in parts.items()}
    if isinstance(value, list):
        entries: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [_rewrite(part, change) for part in entries]
    return value
