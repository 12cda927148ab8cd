"""What the worker keeps in an item's `raw`, so that the log alone tells how far it came and what it used."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from nightshift.models import Item, NewItem, Tokens


class Envelope(BaseModel):
    model_config = ConfigDict(extra="ignore")

    output: dict[str, Any] | None = None
    """The model API's own output item, sent back to it unchanged."""
    response_id: str | None = None
    model: str | None = None
    usage: Tokens | None = None
    """Of the whole model call; on the first item that it produced, on no other."""
    above: int | None = None
    """The line of the price table that this call's input was above, as it stood then."""
    elided: list[int] | None = None
    """context_elided: the items whose texts are put away."""
    kept_in: str | None = None
    """context_elided: the folder where they are, a file for each seq."""
    covers: int | None = None
    """context_summary: it stands for everything up to this seq but the user's messages."""
    window: int | None = None
    """Input tokens that `model` seems to take, after its server refused more."""
    through_seq: int | None = None
    """The newest user message that had been seen when this was written."""

    @classmethod
    def of(cls, item: Item | NewItem) -> Envelope:
        return cls.model_validate(item.raw or {})

    def raw(self) -> dict[str, Any]:
        """Without the empty fields. `output` is not looked into: it stays as the API gave it."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        if self.usage:
            fields["usage"] = self.usage.model_dump()
        return {name: value for name, value in fields.items() if value is not None}
