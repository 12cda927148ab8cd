"""How many tokens a text has, near enough, without a tokenizer's data: by the classes of its characters.

Within a quarter of OpenAI's o200k for prose, code, logs, JSON and most scripts, measured once; what a model's own
tokenizer makes of it is learned from the usage that it reports (`worker.context`).
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Any

_PIECE = re.compile(
    r"""
     (?P<word>[A-Z]?[a-z]+|[A-Z]+)
    |(?P<digits>[0-9]{1,3})
    |(?P<blank>[ \t]+|\s+)
    |(?P<rule>(?P<mark>[!-/:-@\[-`{-~])(?P=mark){3,})
    |(?P<marks>[!-/:-@\[-`{-~]{1,2})
    |(?P<dense>[\u0900-\u0dff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff])
    |(?P<letters>[^\W\d_a-zA-Z]+)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SAMPLES, _SAMPLE = 4, 1000
"""A longer text is judged by this many pieces of this many characters."""
_IMAGE = 1500
_ITEM = 4
"""What a message costs besides its text."""


def text(content: str) -> int:
    if len(content) <= 2 * _SAMPLES * _SAMPLE:
        return math.ceil(_weigh(content))
    step = (len(content) - _SAMPLE) // (_SAMPLES - 1)
    sampled = sum(_weigh(content[start * step : start * step + _SAMPLE]) for start in range(_SAMPLES))
    return math.ceil(sampled * len(content) / (_SAMPLES * _SAMPLE))


@lru_cache(maxsize=8)
def fixed(instructions: str, tools: str) -> int:
    """Of what stands before every conversation."""
    return text(instructions) + text(tools) + _ITEM


def item(value: dict[str, Any]) -> int:
    """Of an item of the model's input."""
    if value.get("type") == "reasoning":  # encrypted: base64 of what the model thought
        return len(value.get("encrypted_content") or "") // 5 + text(json.dumps(value.get("summary") or ""))
    content: Any = value.get("content", value.get("output", value.get("arguments")))
    parts: list[Any] = content if isinstance(content, list) else [content]  # pyright: ignore[reportUnknownVariableType]
    return _ITEM + text(str(value.get("name") or "")) + sum(map(_part, parts))


def _part(part: Any) -> int:
    if isinstance(part, dict):
        fields: dict[str, Any] = part  # pyright: ignore[reportUnknownVariableType]
        if fields.get("type") == "input_image":
            return _IMAGE
        return text(str(fields.get("text") or fields.get("refusal") or ""))
    return text(str(part or ""))


def _weigh(content: str) -> float:
    return sum(_tokens(match.lastgroup, match.end() - match.start()) for match in _PIECE.finditer(content))


def _tokens(kind: str | None, length: int) -> float:
    match kind:
        case "word":
            return 1 + (length - 1) // 8
        case "digits":
            return 1
        case "blank":
            return 0.15 if length == 1 else 1 + length // 40
        case "rule":
            return 1 + length // 16
        case "marks":
            return 0.9
        case "dense":
            return 0.8
        case "letters":
            return 0.3 + length / 4
        case _:
            return 1.7
