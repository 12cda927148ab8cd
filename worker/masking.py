"""Known secret values, and their removal from whatever leaves the worker."""

from __future__ import annotations

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
        if isinstance(value, str):
            for secret in self._values:
                value = value.replace(secret, HIDDEN)
            return value
        if isinstance(value, dict):
            return {self.mask(key): self.mask(part) for key, part in value.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [self.mask(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
        return value

    def mask_file(self, path: Path) -> None:
        content = path.read_bytes()
        cleaned = content
        for secret in self._values:
            cleaned = cleaned.replace(secret.encode(), HIDDEN.encode())
        if cleaned != content:
            path.write_bytes(cleaned)
