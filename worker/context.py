"""The conversation as the model is to read it, and what is put away when it grows too long for the model. Pure.

`Context` takes the log's items in order. What was put away and what was summed up are items too, so the log alone says
what the model reads: a restart builds the same bytes, and between two such notices the input only grows at its end,
where the prompt cache wants it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from nightshift.models import Item, ItemKind
from worker import counter
from worker.attachments import FOLDER, kept_as
from worker.envelope import Envelope
from worker.model import images

ELIDED = "context_elided"
"""The notice that puts long texts away."""
SUMMARY = "context_summary"
"""The notice whose text stands for older turns. It carries the usage of the call that wrote it."""

FULL = 0.75
"""Of the window: from here on room is made. What is left is for the answer, and for the estimate's error."""
ROOM = 0.5
"""Of the window: so much is in use afterwards. In large steps, for each one costs the prompt cache."""
RECENT = 0.25
"""Of the window: the newest entries, which are put away last."""
WORTH = 100
"""Tokens that an entry must have to be worth putting away."""
_KEPT = 1500
"""Characters of head and tail that stay of a long message."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of the model's input."""

    seq: int
    kind: ItemKind
    value: dict[str, Any]
    tokens: int
    elided: bool = False


@dataclass(frozen=True)
class Elide:
    """Put the texts of these items away."""

    seqs: list[int]


@dataclass(frozen=True)
class Summarize:
    """Have a summary stand for everything up to here but the user's messages."""

    through: int


type Move = Elide | Summarize


class Context:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.unseen: list[Entry] = []
        """User messages that no model call had before it."""
        self.windows: dict[str, int] = {}
        """By model: less than a request that its server refused for its length."""
        self._tokens = 0
        self._reasoning: list[tuple[Item, Envelope]] = []
        self._measured: tuple[int, int] | None = None
        """Of the newest model call: (input tokens as reported, as estimated without what stands before)."""

    def add(self, item: Item, envelope: Envelope, told: bool, note: str = "") -> None:
        """`told`: a notice that the model reads; `note` follows what a user says."""
        if item.kind is ItemKind.USER_MESSAGE:
            # It stands where the model first saw it: after the response that was under way when it came.
            self.unseen.append(_entry(item, {"role": "user", "content": _content(item, note)}))
            return
        if item.kind is ItemKind.TOOL_OUTPUT:
            self._append(item, {"type": "function_call_output", "call_id": item.call_id, "output": _content(item)})
            return
        self._see(envelope.through_seq or 0)
        if envelope.usage and item.code != SUMMARY:
            self._measured = envelope.usage.input // max(1, envelope.usage.calls), self._tokens
        if envelope.window and envelope.model:
            self.windows[envelope.model] = envelope.window
        if item.code == ELIDED and envelope.elided is not None:
            self._elide(set(envelope.elided), envelope.kept_in or "")
        elif item.code == SUMMARY and envelope.covers is not None:
            self._sum_up(item, envelope.covers)
        elif told:
            self._append(item, {"role": "system", "content": f"[{item.code}] {item.text}"})
        elif item.kind is ItemKind.REASONING and envelope.output:
            self._reasoning.append((item, envelope))
        elif envelope.output:
            # The API refuses reasoning without what it led to, so half a response (a crash) loses its reasoning.
            for thought, its in self._reasoning:
                if its.output and its.response_id == envelope.response_id:
                    self._append(thought, its.output)
            self._append(item, envelope.output)
            self._reasoning = []

    def input(self) -> list[dict[str, Any]]:
        return [entry.value for entry in (*self.entries, *self.unseen)]

    def shows(self, line: str) -> bool:
        """Whether a tool's output that has not been put away says this."""
        outputs = (entry for entry in self.entries if entry.kind is ItemKind.TOOL_OUTPUT)
        return any(line in _flat(entry.value["output"]) for entry in outputs)

    def size(self, fixed: int) -> int:
        """Tokens of the next request, `fixed` of them (as estimated) before the conversation."""
        return round(self.scale(fixed) * (fixed + self._tokens + sum(entry.tokens for entry in self.unseen)))

    def scale(self, fixed: int) -> float:
        """How many tokens of the model's an estimated one is."""
        reported, estimated = self._measured or (0, 0)
        return min(3.0, max(0.5, reported / (fixed + estimated))) if reported else 1.0

    def _append(self, item: Item, value: dict[str, Any]) -> None:
        entry = _entry(item, value)
        self.entries.append(entry)
        self._tokens += entry.tokens

    def _see(self, through: int) -> None:
        seen = [entry for entry in self.unseen if entry.seq <= through]
        if seen:
            self._replace([*self.entries, *seen])
            self.unseen = [entry for entry in self.unseen if entry.seq > through]

    def _elide(self, seqs: set[int], kept_in: str) -> None:
        def stubbed(entry: Entry) -> Entry:
            return _stub(entry, f"{kept_in}/{file_of(entry.seq)}") if entry.seq in seqs and not entry.elided else entry

        self._replace([stubbed(entry) for entry in self.entries])
        self.unseen = [stubbed(entry) for entry in self.unseen]

    def _sum_up(self, item: Item, through: int) -> None:
        said = [entry for entry in self.entries if entry.seq <= through and entry.kind is ItemKind.USER_MESSAGE]
        summary = _entry(item, {"role": "system", "content": f"[{SUMMARY}] {item.text}"})
        self._replace([*said, summary, *(entry for entry in self.entries if entry.seq > through)])

    def _replace(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._tokens = sum(entry.tokens for entry in entries)


def plan(context: Context, fixed: int, window: int) -> list[Move]:
    """What to do before the next request, so that it fits; nothing if it does, or if nothing helps any more."""
    scale, size = context.scale(fixed), context.size(fixed)
    if size <= FULL * window:
        return []
    excess, recent = (size - ROOM * window) / scale, _recent(context, RECENT * window / scale)
    old = _worth([entry for entry in context.entries[:recent] if entry.kind is ItemKind.TOOL_OUTPUT])
    elided = _until(excess, old)
    saved = sum(entry.tokens for entry in elided)
    moves: list[Move] = [Elide([entry.seq for entry in elided])] if elided else []
    if saved < excess * 0.6 and (through := _boundary(context, recent)):
        moves.append(Summarize(through))
    if moves:
        return moves
    everything = sorted(_worth([*context.entries, *context.unseen]), key=lambda entry: -entry.tokens)
    return [Elide([entry.seq for entry in _until(excess, everything)])] if everything else []


def digest(context: Context, through: int) -> str:
    """A summary that needs no model: what was said and called, a line each, the newest last."""
    lines: list[str] = []
    for entry in context.entries:
        if entry.seq <= through and entry.kind is not ItemKind.USER_MESSAGE:
            value = entry.value
            if value.get("type") == "function_call":
                lines.append(f"- called {value['name']} {str(value['arguments'])[:150]}")
            elif value.get("type") == "message" or value.get("role") == "system":
                lines.append(f"- {_flat(value.get('content'))[:500]}")
    return "What was done so far, in short:\n" + "\n".join(lines[-60:])


def file_of(seq: int) -> str:
    """Name of the file in which an item's text is kept that was put away."""
    return f"item-{seq}.txt"


def whole(item: Item) -> str:
    """What is put away of an item."""
    return (item.arguments if item.kind is ItemKind.TOOL_CALL else item.text) or ""


def _recent(context: Context, tokens: float) -> int:
    """Index of the oldest of the newest entries, one at least, that have so many tokens together."""
    index = len(context.entries)
    while index and (tokens > 0 or index == len(context.entries)):
        index -= 1
        tokens -= context.entries[index].tokens
    return index


def _worth(entries: Iterable[Entry]) -> list[Entry]:
    movable = (ItemKind.TOOL_OUTPUT, ItemKind.TOOL_CALL, ItemKind.USER_MESSAGE, ItemKind.ASSISTANT_MESSAGE)
    return [entry for entry in entries if not entry.elided and entry.tokens > WORTH and entry.kind in movable]


def _until(tokens: float, entries: Iterable[Entry]) -> list[Entry]:
    """The first ones that have so many tokens together, or all."""
    taken: list[Entry] = []
    for entry in entries:
        if tokens <= 0:
            break
        taken.append(entry)
        tokens -= entry.tokens
    return taken


def _boundary(context: Context, before: int) -> int:
    """The newest seq before this index, else the oldest after it, up to which nothing is torn: every call has its
    output, every thought what it led to. 0 if there is nothing to sum up."""
    calls: set[str] = set()
    said, found, through = 0, 0, 0
    for index, entry in enumerate(context.entries):
        if index >= before and found:
            break
        value = entry.value
        if value.get("type") == "function_call":
            calls.add(value["call_id"])
        elif value.get("type") == "function_call_output":
            calls.discard(value["call_id"])
        if entry.kind is not ItemKind.USER_MESSAGE:
            said += value.get("role") != "system"
            through = entry.seq
        if said > 1 and not calls and entry.kind is not ItemKind.REASONING:
            found = through
    return found


def _entry(item: Item, value: dict[str, Any]) -> Entry:
    return Entry(item.seq, item.kind, value, counter.item(value))


def _stub(entry: Entry, path: str) -> Entry:
    """The entry with its text put away, one line or head and tail in its place."""
    value = entry.value
    shortened: Callable[[str], str] = lambda text: _shortened(text, path)  # noqa: E731
    match entry.kind:
        case ItemKind.TOOL_OUTPUT:
            length = len(_flat(value["output"]))
            value = value | {"output": f"[{length} characters, put away to save room; all of it is in {path}]"}
        case ItemKind.TOOL_CALL:
            length = len(value["arguments"])
            value = value | {"arguments": json.dumps({"put_away": f"{length} characters; all of it is in {path}"})}
        case ItemKind.USER_MESSAGE:
            value = value | {"content": shortened(_flat(value["content"]))}
        case _:
            text: dict[str, Any] = {
                "type": "output_text",
                "text": shortened(_flat(value.get("content"))),
                "annotations": list[Any](),
            }
            value = value | {"content": [text]}
    return replace(entry, value=value, tokens=counter.item(value), elided=True)


def _shortened(text: str, path: str) -> str:
    left = len(text) - 2 * _KEPT
    if left <= 0:
        return text
    gap = f"[... {left} characters, put away to save room; all of it is in {path} ...]"
    return f"{text[:_KEPT]}\n\n{gap}\n\n{text[-_KEPT:]}"


def _flat(content: Any) -> str:
    """The text of a content, whatever its form."""
    if isinstance(content, list):
        parts: list[Any] = content  # pyright: ignore[reportUnknownVariableType]
        return "\n".join(str(part.get("text") or "") for part in parts)
    return str(content or "")


def _content(item: Item, note: str = "") -> str | list[dict[str, Any]]:
    """Text, and what files go with it."""
    text = item.text + note
    if not item.files:
        return text
    places = "\n".join(f"[{file.filename} is in your folder as {FOLDER}/{kept_as(file)}]" for file in item.files)
    return [{"type": "input_text", "text": text}, *map(images.part, item.files), {"type": "input_text", "text": places}]
