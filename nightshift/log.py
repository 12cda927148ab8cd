"""A session's log on the store: append-only streams, the session document, heartbeats and usage.

The log (items, controls, reports) is the truth and anyone may append to it. The session document is a
projection with one writer, the session's orchestration. Every write is one document; every write may be
repeated; two at once are settled by the store's conflict or ETag.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from nightshift import spending, telemetry
from nightshift.budget import Ledger
from nightshift.errors import Conflict, NotFound, PreconditionFailed, StaleGeneration
from nightshift.models import (
    Control,
    Item,
    Model,
    NewControl,
    NewItem,
    NewReport,
    Phase,
    Report,
    Session,
    Stream,
    Tokens,
    TurnUsage,
)
from nightshift.ports import NOTHING_ELSE, Blobs, Document, Find, Order, Page, Store

SESSION = "session"
HEARTBEAT = "heartbeat"
LEDGER = "ledger"
_LISTING = {"kind", "find", "sort"}
"""What the store lists sessions by, and no part of them."""
_BUMP = "machine_starting"
"""Notice code that announces a new generation in the log; see `append`."""

type Entry = Item | Control | Report
_ENTRY: dict[Stream, type[Entry]] = {Stream.ITEM: Item, Stream.CONTROL: Control, Stream.REPORT: Report}


def utc_now() -> datetime:
    return datetime.now(UTC)


def entry_id(stream: Stream, seq: int) -> str:
    """Sort key of an entry: lexical order is numerical order up to 10^12 - 1."""
    return f"{stream}:{seq:012d}"


class Log:
    """All reads and writes of one session's partition."""

    def __init__(self, store: Store, blobs: Blobs | None = None) -> None:
        """`blobs` has the sessions' files; None where there are none."""
        self._store = store
        self._blobs = blobs

    # --- the session document ---------------------------------------------------------------------------

    async def create_session(self, session: Session) -> Session:
        """Create the document, or return the one that an equal request made before.

        Raises Conflict if the id belongs to a different request.
        """
        try:
            await self._store.create(session.id, SESSION, _session_body(session))
            return session
        except Conflict:
            existing = await self.session(session.id)
            if existing.owner != session.owner or existing.request != session.request:
                raise Conflict(
                    "This Idempotency-Key was used for a different request; use a new key for a new session",
                    "key-used-before",
                ) from None
            return existing

    async def session(self, session_id: str) -> Session:
        """Raises NotFound."""
        return _session(await self._session_document(session_id))

    async def sessions(
        self,
        limit: int,
        cursor: str | None = None,
        *,
        owner: str | None = None,
        find: Find = NOTHING_ELSE,
        order: Order = "created",
    ) -> tuple[list[Session], str | None]:
        """Everybody's, or one owner's. `text` in `find` is case-folded here."""
        if "text" in find:
            find = {**find, "text": find["text"].casefold()}
        page: Page = await self._store.newest(SESSION, owner=owner, find=find, order=order, limit=limit, cursor=cursor)
        return [_session(document) for document in page.documents], page.cursor

    async def project(self, session_id: str, revision: int, changes: dict[str, Any]) -> Session:
        """Write `changes` into the session document, unless a projection of this revision or a later one did.

        Raises NotFound if the session was deleted.
        """
        while True:
            document = await self._session_document(session_id)
            session = _session(document)
            if session.revision >= revision:
                return session
            update = changes | {"revision": revision, "updated_at": utc_now()}
            projected = Session.model_validate(session.model_dump() | update)
            try:
                await self._store.replace(document, _session_body(projected))
            except PreconditionFailed:
                continue  # a repeat of this very activity won: look again, and find our revision there
            _count_projection(session, projected)
            return projected

    async def _session_document(self, session_id: str) -> Document:
        document = await self._store.read(session_id, SESSION)
        if document is None:
            raise no_session(session_id)
        return document

    # --- the streams ------------------------------------------------------------------------------------

    async def append_item(self, session_id: str, item: NewItem) -> Item:
        """Raises StaleGeneration if the item's generation is not the session's newest."""
        return cast(Item, await self._append(session_id, Stream.ITEM, item, item.generation))

    async def append_control(self, session_id: str, control: NewControl) -> Control:
        return cast(Control, await self._append(session_id, Stream.CONTROL, control))

    async def append_report(self, session_id: str, report: NewReport) -> Report:
        return cast(Report, await self._append(session_id, Stream.REPORT, report))

    async def _append(self, session_id: str, stream: Stream, new: Model, generation: int | None = None) -> Entry:
        """Give the entry the next seq by a conditional create; the same id again is a no-op.

        Ordering makes this safe without a transaction. The tail is read first, then the id is looked up, then
        the generation is checked: an entry of the same id, or the notice that announces a newer generation, is
        either at or before the tail, and so seen by those look-ups, or takes a seq after it, and so is met as a
        conflict on the way up.
        """
        new_id = cast(str, getattr(new, "id"))  # noqa: B009 - the three entry types share it, their base does not
        seq = await self.last_seq(session_id, stream) + 1
        existing = await self._store.find(session_id, f"{stream}:{new_id}")
        if existing is not None:
            return _entry(stream, existing)
        if generation is not None:
            await self.check_generation(session_id, generation)
        while True:
            entry = _ENTRY[stream].model_validate(new.model_dump() | {"seq": seq, "created_at": utc_now()})
            body = entry.model_dump(mode="json", exclude_defaults=True) | {"key": f"{stream}:{new_id}"}
            body["entry_kind"] = body.pop("kind")
            try:
                await self._store.create(session_id, entry_id(stream, seq), body)
                return entry
            except Conflict:
                winner = await self._store.read(session_id, entry_id(stream, seq))
                if winner is None:
                    raise no_session(session_id) from None
                if winner.body["key"] == body["key"]:
                    return _entry(stream, winner)
                if generation is not None and _announces_newer(winner, generation):
                    raise StaleGeneration(_stale(generation)) from None
                seq += 1

    async def check_generation(self, session_id: str, generation: int) -> None:
        """Raises StaleGeneration unless this is the session's newest."""
        if (await self.session(session_id)).generation != generation:
            raise StaleGeneration(_stale(generation))

    async def last_seq(self, session_id: str, stream: Stream) -> int:
        """Seq of the newest entry, 0 if there is none."""
        newest = await self._store.range(session_id, f"{stream}:", f"{stream};", limit=1, newest_first=True)
        return int(newest[0].body["seq"]) if newest else 0

    async def items(self, session_id: str, after: int = 0, limit: int = 200) -> list[Item]:
        return cast(list[Item], await self._entries(session_id, Stream.ITEM, after, limit))

    async def items_before(self, session_id: str, before: int, limit: int = 200) -> list[Item]:
        """The newest `limit` items with seq < before, in order of seq."""
        high = entry_id(Stream.ITEM, before)
        found = await self._store.range(session_id, "item:", high, limit=limit, newest_first=True)
        return cast(list[Item], [_entry(Stream.ITEM, document) for document in reversed(found)])

    async def controls(self, session_id: str, after: int = 0, limit: int = 200) -> list[Control]:
        return cast(list[Control], await self._entries(session_id, Stream.CONTROL, after, limit))

    async def reports(self, session_id: str, after: int = 0, limit: int = 200) -> list[Report]:
        return cast(list[Report], await self._entries(session_id, Stream.REPORT, after, limit))

    async def newest_entries(self, session_id: str, stream: Stream, limit: int) -> Sequence[Entry]:
        """The newest first."""
        found = await self._store.range(session_id, f"{stream}:", f"{stream};", limit=limit, newest_first=True)
        return [_entry(stream, document) for document in found]

    async def _entries(self, session_id: str, stream: Stream, after: int, limit: int) -> Sequence[Entry]:
        found = await self._store.range(session_id, entry_id(stream, after), f"{stream};", limit=limit)
        return [_entry(stream, document) for document in found]

    # --- heartbeat and usage ----------------------------------------------------------------------------

    async def beat(self, session_id: str, report: NewReport) -> None:
        """Keep the newest progress report of the newest generation: the worker was alive now."""
        body = {"generation": report.generation, "at": utc_now().isoformat()}
        while True:
            document = await self._store.read(session_id, HEARTBEAT)
            try:
                if document is None:
                    await self._store.create(session_id, HEARTBEAT, body)
                elif document.body["generation"] <= report.generation:
                    await self._store.replace(document, body)
                return
            except (Conflict, PreconditionFailed):
                continue

    async def last_beat(self, session_id: str) -> tuple[int, datetime] | None:
        """(generation, time) of the last heartbeat."""
        document = await self._store.read(session_id, HEARTBEAT)
        if document is None:
            return None
        return int(document.body["generation"]), datetime.fromisoformat(document.body["at"])

    async def record_usage(self, session_id: str, usage: Sequence[TurnUsage]) -> None:
        """Usage is cumulative per (turn, model, above), so a repeat changes nothing and a late report never lowers
        it. Each is listed under its month, see `nightshift.spending`."""
        for entry in usage:
            id = f"usage:{entry.turn:012d}:{entry.model.replace('/', '|')}" + (f"@{entry.above}" if entry.above else "")
            while True:
                document = await self._store.read(session_id, id)
                try:
                    if document is None:
                        listing = spending.listing(await self.session(session_id), utc_now())
                        await self._store.create(session_id, id, entry.model_dump(mode="json") | listing)
                        _count(entry.model, Tokens(), entry.tokens)
                    else:
                        known = spending.usage_of(document).tokens
                        tokens = _larger(known, entry.tokens)
                        if tokens != known:
                            await self._store.replace(document, document.body | {"tokens": tokens.model_dump()})
                            _count(entry.model, known, tokens)
                    break
                except (Conflict, PreconditionFailed):
                    continue

    async def usage(self, session_id: str) -> list[TurnUsage]:
        found, low = list[TurnUsage](), "usage:"
        while page := await self._store.range(session_id, low, "usage;", limit=500):
            found += [spending.usage_of(document) for document in page]
            low = page[-1].id
        return found

    async def ledger(self, session_id: str) -> Ledger:
        """Empty if nothing was ever written into it."""
        document = await self._store.read(session_id, LEDGER)
        return Ledger() if document is None else Ledger.model_validate(document.body)

    async def change_ledger(self, session_id: str, change: Callable[[Ledger], Awaitable[Ledger]]) -> Ledger:
        """Read, change, write. `change` is called again if somebody else wrote meanwhile. Returns the ledger as it is
        then; one that did not change is not written."""
        while True:
            document = await self._store.read(session_id, LEDGER)
            old = Ledger() if document is None else Ledger.model_validate(document.body)
            new = await change(old)
            try:
                if new == old:
                    pass
                elif document is None:
                    await self._store.create(session_id, LEDGER, new.model_dump(mode="json"))
                else:
                    await self._store.replace(document, new.model_dump(mode="json"))
                return new
            except (Conflict, PreconditionFailed):
                continue

    # --- the end ----------------------------------------------------------------------------------------

    async def purge(self, session_id: str) -> None:
        """Delete everything the session owns, its document last, so that a crash half way is found and repeated.
        What it cost stays on the bill."""
        while page := await self._store.range(session_id, "", "~", limit=200):
            rest = [document for document in page if document.id != SESSION]
            if not rest:
                break
            for document in rest:
                if document.id.startswith("usage:"):
                    await spending.keep(self._store, document)
                await self._store.delete(session_id, document.id)
        if self._blobs is not None:
            await self._blobs.delete_all(session_id)
        await self._store.delete(session_id, SESSION)


def _session(document: Document) -> Session:
    return Session.model_validate({name: value for name, value in document.body.items() if name not in _LISTING})


def no_session(session_id: str) -> NotFound:
    return NotFound(f"There is no session '{session_id}'", "no-session", id=session_id)


def _session_body(session: Session) -> dict[str, Any]:
    """With what lists of sessions are narrowed and sorted by."""
    asked = session.request
    text = "\n".join((session.shown_title, asked.message[:500], asked.repository or "", session.id))
    find = {"phase": session.phase.value, "text": text.casefold()}
    if asked.repository:
        find["repository"] = asked.repository
    if asked.model:
        find["model"] = asked.model
    if session.agent:
        find["agent"] = session.agent.name
    sort = {
        "active": session.updated_at.isoformat(),
        "cost": f"{session.usage.cost_usd or 0:015.6f}",
        "title": session.shown_title.casefold(),
    }
    return session.model_dump(mode="json") | {"kind": SESSION, "find": find, "sort": sort}


def _entry(stream: Stream, document: Document) -> Entry:
    body = {name: value for name, value in document.body.items() if name != "key"}
    body["kind"] = body.pop("entry_kind")
    return _ENTRY[stream].model_validate(body)


def _announces_newer(document: Document, generation: int) -> bool:
    return document.body.get("code") == _BUMP and int(document.body.get("generation", 0)) > generation


def _stale(generation: int) -> str:
    return f"Generation {generation} of this session's machine was replaced by a newer one; this worker must exit"


def _count_projection(before: Session, after: Session) -> None:
    if before.revision == 0:
        telemetry.sessions_begun.add(1)
    if before.phase is not Phase.FAILED and after.phase is Phase.FAILED:
        telemetry.sessions_failed.add(1)
    if (spent := (after.usage.cost_usd or 0) - (before.usage.cost_usd or 0)) > 0:
        telemetry.cost.add(spent)


def _count(model: str, before: Tokens, after: Tokens) -> None:
    new = {name: count - getattr(before, name) for name, count in after.model_dump().items()}
    telemetry.steps.add(new.pop("calls"), {"model": model})
    for sort, count in new.items():
        telemetry.tokens.add(count, {"model": model, "sort": sort})


def _larger(a: Tokens, b: Tokens) -> Tokens:
    pairs = zip(a.model_dump().items(), b.model_dump().values(), strict=True)
    return Tokens(**{name: max(left, right) for (name, left), right in pairs})
