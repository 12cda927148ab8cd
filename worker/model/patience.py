"""How often, and for how long, a failing model server is asked again."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from time import monotonic

from nightshift.errors import Retryable
from worker.model.port import ModelFault, Show

logger = logging.getLogger(__name__)

TRIES = 15
WITHIN = 900.0
"""Seconds from the first failure in which another try may begin."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
SHOWN = 2.0
"""A shorter pause is nothing to tell the user."""


@dataclass
class Patience:
    """Of one question."""

    tries: int = 0
    began: float = field(default=0.0)

    async def pause(self, fault: Retryable, show: Show) -> None:
        """Sleep before the next try. Raises ModelFault when it was enough."""
        self.tries += 1
        self.began = self.began or monotonic()
        left = self.began + WITHIN - monotonic()
        asked = fault.retry_after or 0.0
        if self.tries >= TRIES or asked > left or left <= 0:
            wish = f" It asks to be left alone for {asked:,.0f} s." if asked > left else ""
            raise ModelFault(
                "model_unavailable",
                f"{fault}.{wish} Given up after {self.tries} tries.",
                "Send a message to try again.",
            ) from fault
        own = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.tries - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
        # Later than it asked for, never earlier, and not all sessions at once.
        seconds = min(left, asked * random.uniform(1.0, 1.1) if asked else own)  # noqa: S311
        logger.warning("try %d: %s; again in %.1f s", self.tries, fault, seconds)
        if seconds < SHOWN:
            await asyncio.sleep(seconds)
            return
        end = monotonic() + seconds
        while (rest := end - monotonic()) > 0:
            show(0, "wait", f"{fault}. Waiting for the model server, {rest:.0f} s")
            await asyncio.sleep(min(1.0, rest))
        show(0, "wait", "")
