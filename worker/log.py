"""The conversation log as the worker holds it: read from the control plane, followed, appended to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from nightshift.models import ControlKind, Item, ItemKind, ItemsPage, NewItem
from worker.client import ControlPlane
from worker.masking import Secrets

POLL_SECONDS = 25.0


class Log:
    def __init__(self, plane: ControlPlane, secrets: Secrets) -> None:
        self.interrupt_at = 0
        """The user asked to stop whatever concerns messages up to this seq."""
        self._plane = plane
        self._secrets = secrets
        self._items: dict[int, Item] = {}
        self._cursor = 0
        self._control_cursor = 0
        self._changed = asyncio.Event()

    @property
    def items(self) -> list[Item]:
        return [self._items[seq] for seq in sorted(self._items)]

    async def catch_up(self) -> None:
        """Read all there is."""
        while True:
            page = await self._plane.items(self._cursor, self._control_cursor, 0)
            self._add(page)
            if self._cursor >= page.last_seq and not page.controls:
                return

    async def follow(self) -> None:
        """Long-poll for ever."""
        while True:
            self._add(await self._plane.items(self._cursor, self._control_cursor, POLL_SECONDS))

    async def append(self, *new: NewItem) -> list[Item]:
        """Store items, free of secrets; returns once they are durable."""
        clean = [
            NewItem.model_validate(self._secrets.mask(item.model_dump(), found=item.kind is ItemKind.TOOL_OUTPUT))
            for item in new
        ]
        seqs = await self._plane.append(clean)
        now = datetime.now(UTC)
        stored = [Item(**item.model_dump(), seq=seqs[item.id], created_at=now) for item in clean]
        self._keep(stored)
        return stored

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _add(self, page: ItemsPage) -> None:
        for control in page.controls:
            self._control_cursor = max(self._control_cursor, control.seq)
            if control.kind is ControlKind.INTERRUPT:
                self.interrupt_at = max(self.interrupt_at, control.at_seq)
        self._cursor = max([self._cursor, *(item.seq for item in page.items)])
        self._keep(page.items)

    def _keep(self, items: list[Item]) -> None:
        self._items |= {item.seq: item for item in items}
        while self._cursor + 1 in self._items:  # there are no gaps: what was appended here need not be fetched
            self._cursor += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
