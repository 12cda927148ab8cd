"""What the model is writing right now, on its way to the page. Never in anybody's way: the newest replaces what has
not been sent yet, and one that cannot be delivered is dropped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nightshift.errors import NightshiftError
from nightshift.models import MAX_DRAFT, Draft, DraftKind
from worker.masking import Secrets, storable
from worker.model import Show

logger = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds between two."""


class Drafts:
    def __init__(self, send: Callable[[Draft], Awaitable[None]], secrets: Secrets) -> None:
        self._send = send
        self._secrets = secrets
        self._newest: dict[int, tuple[DraftKind, str]] = {}
        self._prefix = ""
        self._turn = 0
        self._changed = asyncio.Event()

    def of(self, turn: int, prefix: str) -> Show:
        """For the reply whose items' ids begin so; what is left of the last one is forgotten."""
        self._turn, self._prefix, self._newest = turn, prefix, {}

        def show(number: int, kind: DraftKind, text: str) -> None:
            self._newest[number] = kind, text
            self._changed.set()

        return show

    async def run(self) -> None:
        """Send for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            taken, self._newest = self._newest, {}
            for number, (kind, text) in sorted(taken.items()):
                draft = self._draft(number, kind, text)
                try:
                    await self._send(draft)
                except NightshiftError as fault:  # a worker that is no longer wanted hears so from the log
                    logger.debug("draft dropped: %s", fault)
            await asyncio.sleep(PAUSE)

    def _draft(self, number: int, kind: DraftKind, text: str) -> Draft:
        """Free of secrets, of which half may have been written: the last word waits until it is whole."""
        if kind != "wait":
            text = text[: max(text.rfind(" "), text.rfind("\n")) + 1] or " " * bool(text)
        clean: str = storable(self._secrets.mask(text))
        offset = max(0, len(clean) - MAX_DRAFT)
        return Draft(turn=self._turn, id=f"{self._prefix}{number}", kind=kind, offset=offset, text=clean[offset:])
