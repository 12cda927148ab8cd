"""What people read, in their language: one catalogue each in web/words, and which of them somebody asks for."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from nightshift.errors import UserError

FOLDER = Path(__file__).parents[1] / "web" / "words"
COOKIE = "nightshift_language"
LANGUAGES = {"en": "English", "ja": "日本語"}
"""The first is taken where a browser asks for none of them."""


class Words:
    """One language's catalogue. Calling it gives the words of a key, with `{names}` filled in."""

    def __init__(self, language: str, catalogue: Mapping[str, str]) -> None:
        self.language = language
        self._catalogue = catalogue
        self.for_scripts = json.dumps(
            {key.removeprefix("script."): text for key, text in catalogue.items() if key.startswith("script.")},
            ensure_ascii=False,
        )

    def __call__(self, key: str, /, **values: object) -> str:
        """Raises KeyError for a key that no catalogue has: a mistake in a template."""
        if values.get("count") == 1 and f"{key}.one" in self._catalogue:
            key += ".one"
        text = self._catalogue[key]
        return text.format(**values) if values else text

    def known(self, key: str, otherwise: str, **values: object) -> str:
        """For what comes from elsewhere: a tool's name, a stage, a notice's code."""
        return self(key, **values) if key in self._catalogue else otherwise


@lru_cache
def words(language: str) -> Words:
    return Words(language, catalogue(language))


def catalogue(language: str) -> dict[str, str]:
    """All keys of a language, as `table.key`."""
    return dict(_flat(tomllib.loads((FOLDER / f"{language}.toml").read_text("utf-8")), ""))


def _flat(table: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        name = prefix + key
        found += _flat(cast(dict[str, Any], value), f"{name}.") if isinstance(value, dict) else [(name, str(value))]
    return found


def asked(cookies: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """The language of ours that a page chose, or that a browser asks for; None: a program, or another language."""
    chosen = cookies.get(COOKIE, "")
    return chosen if chosen in LANGUAGES else preferred(headers.get("Accept-Language", ""))


def told(language: str, error: UserError) -> str:
    """An error in the words of the pages. One that they have no words for says it in its own."""
    return words(language).known(f"problem.{error.code}", str(error), **error.values, detail=str(error))


def fault(language: str, field: str, type: str, message: str, limits: Mapping[str, object]) -> str:
    """What is wrong with a field of a form. `type` and `limits` are pydantic's."""
    t = words(language)
    name = t.known(f"field.{field.partition('.')[0]}", field)
    return t("field.fault", name=name, fault=t.known(f"invalid.{type}", t("invalid.other", message=message), **limits))


def preferred(accept_language: str) -> str | None:
    """The language of ours that an Accept-Language header likes best."""
    best, weight = None, 0.0
    for part in accept_language.split(",")[:20]:
        tag, _, rest = part.strip().partition(";")
        language = tag.split("-")[0].lower()
        quality = re.fullmatch(r"\s*q=([01](?:\.\d{1,3})?)\s*", rest)
        asked = float(quality[1]) if quality else 1.0
        if language in LANGUAGES and asked > weight:
            best, weight = language, asked
    return best
