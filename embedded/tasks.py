"""Tasks that a stop lets end."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Tasks(set[asyncio.Task[Any]]):
    """Tasks under way. What one of them raises is logged."""

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run its first steps at once, the others later."""
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
        self.add(task)
        task.add_done_callback(self._end)
        return task

    async def drain(self, seconds: float) -> None:
        """Give what runs this long to end, then cancel it."""
        late = set(self)
        if late:
            _, late = await asyncio.wait(late, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a background task failed", exc_info=error)
