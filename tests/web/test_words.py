"""The catalogues are complete: every language has every key, and the pages use them all."""

from __future__ import annotations

import ast
import re
from http import HTTPStatus
from pathlib import Path
from string import Formatter

import pytest

from api.pages.assets import STATIC
from api.pages.templates import TEMPLATES
from api.problems import PlainError
from nightshift.errors import UserError
from nightshift.words import LANGUAGES, catalogue, preferred, words

ROOT = Path(__file__).parents[2]

ENGLISH = catalogue("en")
FAMILIES = {
    "error",
    "phase",
    "stage",
    "notice",
    "tool",
    "tool_state",
    "level",
    "todo",
    "efforts",
    "action",
    "help",
    "timeline",
    "cost",
    "themes",
    "scopes",
    "tools",
    "power",
    "push",
    "devices",
    "pulls",
    "checks",
    "needs",
    "approval",
    "plan",
    "problem",
    "invalid",
    "field",
    "orders",
    "dependency",
    "history",
}
"""Tables whose keys are put together from what the store says."""


def holes(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_keys_and_holes(language: str) -> None:
    catalogue_of_it = catalogue(language)
    assert catalogue_of_it.keys() == ENGLISH.keys()
    for key, text in catalogue_of_it.items():
        assert holes(text) == holes(ENGLISH[key]), key
        assert text.strip()


def test_no_language_left_anything_in_english() -> None:
    same = {key for key, text in catalogue("ja").items() if text == ENGLISH[key]}
    assert same <= {"cost.usd"}, same


def test_every_key_is_used_and_every_used_key_is_there() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in sorted(TEMPLATES.glob("*.html")))
    scripts = "\n".join(path.read_text("utf-8") for path in sorted(STATIC.glob("*.js")))
    used = set(re.findall(r"""\bt\(\s*["']([\w.]+)["']\s*[,)]""", sources))
    used |= set(re.findall(r"""["']((?:\w+\.)+\w+)["'] if """, sources)) & ENGLISH.keys()
    used |= set(re.findall(r"""else ["']((?:\w+\.)+\w+)["']""", sources)) & ENGLISH.keys()
    used |= {f"script.{key}" for key in re.findall(r"""\bt\(["'](\w+)["']""", scripts)}
    assert used - ENGLISH.keys() == set()
    unused = {key for key in ENGLISH.keys() - used if key.split(".")[0] not in FAMILIES and not key.endswith(".one")}
    assert unused == set()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", None),
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-GB,en;q=0.9,ja;q=0.8", "en"),
        ("fr, ja;q=0.5", "ja"),
        ("de", None),
        ("*", None),
        ("ja;q=0, en", "en"),
        (";;q=x,,ja;q=0.2", "ja"),
        ("ja" + ",x" * 1000, "ja"),
    ],
)
def test_the_language_that_is_asked_for(header: str, language: str | None) -> None:
    assert preferred(header) == language


def test_a_key_that_is_not_there_is_an_error_and_what_comes_from_elsewhere_is_shown_as_it_is() -> None:
    english = words("en")
    with pytest.raises(KeyError):
        english("no.such.key")
    assert english.known("tool.shell", "shell") == "Run"
    assert english.known("tool.{weird}", "{weird}") == "{weird}"


def _codes() -> set[str]:
    """Every code that the API and what it calls can give a problem: of the classes, and where one is raised."""
    titles = {each.title for each in _all_of(UserError)} | {HTTPStatus(status).phrase for status in (405, 415, 500)}
    found = {title.lower().replace(" ", "-") for title in titles}
    classes = {each.__name__ for each in (*_all_of(UserError), PlainError)}
    for folder in ("api", "nightshift"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                match node:
                    case ast.Call(func=ast.Name(id=name), args=[*_, ast.Constant(value=str(code))]) if (
                        name in classes and len(node.args) > 1 and re.fullmatch(r"[a-z-]+", code)
                    ):
                        found.add(code)
                    case _:
                        pass
    return found


def _all_of(kind: type[UserError]) -> set[type[UserError]]:
    return {kind, *(each for child in kind.__subclasses__() for each in _all_of(child))} - {PlainError}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_problem_has_its_words_and_all_words_have_their_problem(language: str) -> None:
    told = {key.removeprefix("problem.") for key in catalogue(language) if key.startswith("problem.")}
    assert {"no-session", "session-ending", "file-too-large", "bad-cursor"} <= _codes(), "they are found"
    assert told == _codes()
