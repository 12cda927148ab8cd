"""What each person keeps between visits: preferences, templates, and how far they have read in which session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from nightshift.errors import Conflict, PreconditionFailed
from nightshift.models import MAX_TEXT, Effort, Id, Model, ModelName
from nightshift.ports import Store

MOST_TEMPLATES = 50
MOST_READ = 2000
"""Sessions whose place is remembered; the ones looked at longest ago are forgotten first."""
_PREFERENCES, _READ = "preferences", "read"


class Template(Model):
    """A task that is given again and again."""

    name: str = Field(min_length=1, max_length=80)
    message: str = Field(min_length=1, max_length=MAX_TEXT)
    repository: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    agent: Id | None = None
    model: ModelName | None = None
    effort: Effort | None = None


class Preferences(Model):
    """`model`, `effort` and `templates` fill the form of a new session; `prompt` goes to all their agents."""

    model: ModelName | None = None
    effort: Effort | None = None
    prompt: str = Field(default="", max_length=20_000)
    """What this person tells every agent of theirs, after what the team tells it."""
    templates: list[Template] = Field(default=[], max_length=MOST_TEMPLATES)


async def preferences(store: Store, subject: str) -> Preferences:
    document = await store.read(_partition(subject), _PREFERENCES)
    return Preferences() if document is None else Preferences.model_validate(document.body)


async def save_preferences(store: Store, subject: str, wanted: Preferences) -> None:
    body = wanted.model_dump(mode="json")
    await _change(store, subject, _PREFERENCES, lambda _: body)


async def read_places(store: Store, subject: str) -> dict[str, int]:
    """Seq of the newest item that this person has seen, by session."""
    document = await store.read(_partition(subject), _READ)
    return {} if document is None else document.body["places"]


async def note_read(store: Store, subject: str, session_id: str, seq: int) -> None:
    """They saw everything up to `seq`. A place only grows, so that two tabs cannot make anything unread."""

    def moved(body: dict[str, Any]) -> dict[str, Any]:
        places: dict[str, int] = body.get("places", {})
        place = max(seq, places.get(session_id, 0))
        others = {id: at for id, at in places.items() if id != session_id}
        kept = list(others.items())[-(MOST_READ - 1) :]
        return {"places": dict(kept) | {session_id: place}}

    await _change(store, subject, _READ, moved)


async def _change(store: Store, subject: str, id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    while True:
        document = await store.read(_partition(subject), id)
        try:
            if document is None:
                await store.create(_partition(subject), id, change({}))
            else:
                await store.replace(document, change(document.body))
            return
        except (Conflict, PreconditionFailed):
            continue  # another tab of theirs was faster: on top of what it wrote


def _partition(subject: str) -> str:
    return f"person:{subject}"
