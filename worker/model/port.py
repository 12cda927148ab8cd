"""What the agent needs of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from nightshift.errors import Permanent
from nightshift.models import DraftKind, Effort, Tokens

type Items = list[dict[str, Any]]
type Show = Callable[[int, DraftKind, str], None]
"""Called with the number of an output item and all of its text so far, again and again while it is written. Returns
at once. Number 0 again means that the reply begins anew; an empty text takes away what was shown."""


def unseen(number: int, kind: DraftKind, text: str) -> None:
    """Show nobody."""


@dataclass(frozen=True)
class Prompt:
    """One question to a model. `input` and `tools` are the Responses API's own items, whichever API is spoken."""

    id: str
    """Names the reply, whichever try brings it."""
    model: str
    instructions: str
    input: Items
    tools: Items
    effort: Effort | None = None
    max_output_tokens: int | None = None


class Stop(StrEnum):
    """Why the model stopped."""

    DONE = "done"
    LENGTH = "length"
    """In the middle: nothing that was called may be executed."""
    CONTENT_FILTER = "content_filter"
    """The server took away the rest."""


@dataclass(frozen=True)
class Reply:
    """One answer of the model: `output` holds Responses items; `tokens` is of this call, failed tries that the server
    counted included."""

    id: str
    model: str
    output: Items
    tokens: Tokens
    stop: Stop = Stop.DONE


class Model(Protocol):
    async def respond(self, prompt: Prompt, show: Show = unseen) -> Reply:
        """May be cancelled at any time. Raises, after its own retries, ModelFault with advice for a person;
        ContextTooLong if a shorter conversation may pass."""
        ...


FAULT_CODES = (
    "content_filter",
    "model_access",
    "model_unknown",
    "model_quota",
    "model_unavailable",
    "model_refused",
    "context_too_long",
)
"""What may keep a model from answering: codes of the notices that end a turn."""


class ModelFault(Permanent):
    """The model cannot answer. `code` names it for programs: it is the notice's that ends the turn."""

    def __init__(self, code: str, message: str, advice: str) -> None:
        super().__init__(message, advice)
        assert code in FAULT_CODES
        self.code = code
