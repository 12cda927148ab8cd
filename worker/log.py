"""The conversation log as the worker holds it: read from the control plane, followed, added to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence, Set
from datetime import UTC, datetime

from nightshift.errors import Permanent
from nightshift.models import ControlKind, Item, ItemKind, ItemsPage, NewItem
from worker.attachments import Attachments
from worker.client import ControlPlane
from worker.history import History
from worker.masking import Secrets

POLL_SECONDS = 25.0


class Log:
    """What is appended is durable when the call returns. What is put is known here at once, and stored while the agent
    goes on; nothing that comes later is stored before it."""

    def __init__(self, plane: ControlPlane, secrets: Secrets, attachments: Attachments) -> None:
        self.interrupt_at = 0
        """The user asked to stop whatever concerns messages up to this seq."""
        self.controls_seen = 0
        """Seq of the newest control."""
        self.history = History()
        self._plane = plane
        self._secrets = secrets
        self._attachments = attachments
        self._stored = 0
        """So many of the history's items are durable. Those behind them were put, and have the seq they should get."""
        self._ahead: dict[int, Item] = {}
        """Durable, but not what comes before them."""
        self._unsent: list[NewItem] = []
        self._order = asyncio.Lock()
        self._sending: set[asyncio.Task[None]] = set()
        self._fault: Exception | None = None
        """Why something could not be stored, until somebody is told."""
        self._changed = asyncio.Event()

    @property
    def items(self) -> list[Item]:
        """In order of seq, without a gap."""
        return self.history.items

    async def catch_up(self) -> None:
        """Read all there is."""
        while True:
            page = await self._plane.items(self._stored, self.controls_seen, 0)
            await self._add(page)
            if self._stored >= page.last_seq and not page.controls:
                return

    async def follow(self) -> None:
        """Long-poll for ever."""
        while True:
            await self._add(await self._plane.items(self._stored, self.controls_seen, POLL_SECONDS))

    async def append(self, *new: NewItem) -> list[Item]:
        """Store items, free of secrets; returns once they are durable and everything before them is known."""
        clean = self._clean(new)
        self._unsent += clean
        await self.settled()
        return [*self._found([item.id for item in clean])]

    def put(self, *new: NewItem) -> None:
        """Take items, free of secrets, for known. If they cannot be stored they are forgotten, and the next `append` or
        `settled` raises why."""
        clean, now = self._clean(new), datetime.now(UTC)
        for item in clean:
            self.history.add(Item(**item.model_dump(), seq=len(self.items) + 1, created_at=now))
        self._tell()
        self._unsent += clean
        self._send_soon()

    async def settled(self) -> None:
        """Returns once everything is durable. Raises what kept something from it, and all that came after."""
        if self._unsent or self._sending:
            await asyncio.shield(self._send_soon())  # others' items may go with the caller's, whom one may cancel
        if fault := self._fault:
            self._fault, self._unsent = None, []
            self._take([], {item.id for item in self.items[self._stored :]})
            raise fault

    def told(self, line: str) -> bool:
        """Whether the model has this before it in a tool's output: what was put away may be told again."""
        return self.history.context.shows(line)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _clean(self, new: Sequence[NewItem]) -> list[NewItem]:
        return [
            NewItem.model_validate(self._secrets.mask(item.model_dump(), found=item.kind is ItemKind.TOOL_OUTPUT))
            for item in new
        ]

    def _found(self, ids: Sequence[str]) -> Iterator[Item]:
        """Items that came last."""
        found: dict[str, Item] = {}
        for item in reversed(self.items):
            if item.id in ids:
                found[item.id] = item
            if len(found) == len(ids):
                break
        else:
            raise Permanent("Something before it could not be stored.", "Send a message to try again.")
        return map(found.__getitem__, ids)

    def _send_soon(self) -> asyncio.Task[None]:
        sending = asyncio.create_task(self._send())
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return sending

    async def _send(self) -> None:
        """Store what is unsent in its order, once what was sent before is stored."""
        async with self._order:
            if self._fault or not self._unsent:
                return
            new, self._unsent = self._unsent, []
            try:
                seqs = await self._plane.append(new)
            except Exception as fault:
                self._fault = fault
                return
            now = datetime.now(UTC)
            self._keep([Item(**item.model_dump(), seq=seqs[item.id], created_at=now) for item in new])
            await self.until(lambda: self._stored >= max(seqs.values()))  # what others said before comes by `follow`
            self._take([], seqs.keys())  # an id that was taken long ago

    async def _add(self, page: ItemsPage) -> None:
        for control in page.controls:
            self.controls_seen = max(self.controls_seen, control.seq)
            if control.kind is ControlKind.INTERRUPT:
                self.interrupt_at = max(self.interrupt_at, control.at_seq)
        if page.controls:
            self._tell()  # an interrupt does not wait for files
        await self._attachments.keep(page.items)
        self._keep(page.items)

    def _keep(self, items: list[Item]) -> None:
        self._ahead |= {item.seq: item for item in items if item.seq > self._stored}
        while item := self._ahead.pop(self._stored + 1, None):
            self._take([item])
        self._tell()

    def _take(self, durable: list[Item], gone: Set[str] = frozenset()) -> None:
        """`durable` comes next, and then what was put, but for what is `gone`. If that is not what the history has, as
        when a user's message came in between, it is made anew."""
        put = self.items[self._stored :]
        ids = gone | {item.id for item in durable}
        rest = [item for item in put if item.id not in ids]
        after = [*durable, *rest]
        if [(item.id, item.text) for item in after[: len(put)]] == [(item.id, item.text) for item in put]:
            for item in after[len(put) :]:
                self.history.add(item)
        else:
            known = [*self.items[: self._stored], *durable]
            known += (item.model_copy(update={"seq": len(known) + at}) for at, item in enumerate(rest, 1))
            self.history = History(known)
        self._stored += len(durable)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
