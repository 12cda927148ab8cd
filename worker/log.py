"""The conversation log as the worker holds it: read from the control plane, followed, appended to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from nightshift.models import ControlKind, Item, ItemKind, ItemsPage, NewItem
from worker.attachments import Attachments
from worker.client import ControlPlane
from worker.history import History
from worker.masking import Secrets

POLL_SECONDS = 25.0


class Log:
    def __init__(self, plane: ControlPlane, secrets: Secrets, attachments: Attachments) -> None:
        self.interrupt_at = 0
        """The user asked to stop whatever concerns messages up to this seq."""
        self._plane = plane
        self._secrets = secrets
        self._attachments = attachments
        self.history = History()
        self._ahead: dict[int, Item] = {}
        """Known, but not what comes before them."""
        self._control_cursor = 0
        self._changed = asyncio.Event()

    @property
    def items(self) -> list[Item]:
        """In order of seq, without a gap."""
        return self.history.items

    async def catch_up(self) -> None:
        """Read all there is."""
        while True:
            page = await self._plane.items(len(self.items), self._control_cursor, 0)
            await self._add(page)
            if len(self.items) >= page.last_seq and not page.controls:
                return

    async def follow(self) -> None:
        """Long-poll for ever."""
        while True:
            await self._add(await self._plane.items(len(self.items), self._control_cursor, POLL_SECONDS))

    async def append(self, *new: NewItem) -> list[Item]:
        """Store items, free of secrets; returns once they are durable and everything before them is known."""
        clean = [
            NewItem.model_validate(self._secrets.mask(item.model_dump(), found=item.kind is ItemKind.TOOL_OUTPUT))
            for item in new
        ]
        seqs = await self._plane.append(clean)
        now = datetime.now(UTC)
        stored = [Item(**item.model_dump(), seq=seqs[item.id], created_at=now) for item in clean]
        self._keep(stored)
        await self.until(lambda: len(self.items) >= max(seqs.values()))  # what others said before comes by `follow`
        return stored

    def told(self, line: str) -> bool:
        """Whether the model has this before it in a tool's output: what was put away may be told again."""
        return self.history.context.shows(line)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    async def _add(self, page: ItemsPage) -> None:
        for control in page.controls:
            self._control_cursor = max(self._control_cursor, control.seq)
            if control.kind is ControlKind.INTERRUPT:
                self.interrupt_at = max(self.interrupt_at, control.at_seq)
        if page.controls:
            self._tell()  # an interrupt does not wait for files
        await self._attachments.keep(page.items)
        self._keep(page.items)

    def _keep(self, items: list[Item]) -> None:
        self._ahead |= {item.seq: item for item in items if item.seq > len(self.items)}
        while item := self._ahead.pop(len(self.items) + 1, None):
            self.history.add(item)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
