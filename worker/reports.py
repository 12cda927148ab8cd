"""What the worker tells about its turns: the ends for ever until they are heard, the heartbeats once each."""

from __future__ import annotations

import asyncio
import logging
import time

from nightshift.errors import Retryable
from nightshift.models import Grant, Need, NewReport, ReportKind, Reservation, WorkerConfig
from worker.client import ControlPlane, patiently
from worker.history import Closing
from worker.log import Log

logger = logging.getLogger(__name__)

LONGEST_ANSWER = 32_000
"""Tokens that are reserved for an answer, if the budget pays for so many."""


PAUSE = 2.0
"""Seconds between two reports of progress, at least."""


class Reports:
    def __init__(self, plane: ControlPlane, log: Log, config: WorkerConfig) -> None:
        self._plane = plane
        self._log = log
        self._config = config
        self._told = 0.0
        self._free: tuple[int, int] | None = None
        """The turn that has no budget, and the newest control when it was told so."""
        self._order = asyncio.Lock()  # a heartbeat with older usage must not overtake the end of its turn

    async def started(self) -> None:
        await self._deliver(ReportKind.STARTED, None, self._log.history.answered)

    async def closed(self, closing: Closing) -> None:
        await self._deliver(closing.kind, closing.turn, closing.through_seq, closing.detail, closing.needs_user)

    async def step_done(self) -> None:
        """`progress`, but not after every quick step: the model should not wait for what only people look at."""
        if time.monotonic() - self._told > PAUSE:
            await self.progress()

    async def progress(self) -> None:
        """Says that the worker lives and what the turn has used. A lost one is made up for by the next."""
        async with self._order:
            self._told = time.monotonic()
            history = self._log.history
            report = self._report(ReportKind.PROGRESS, history.open_turn, history.answered)
            try:
                await self._plane.report(report)
            except Retryable as fault:
                logger.warning("heartbeat not delivered: %s", fault)

    async def reserve(self, turn: int, id: str, model: str, input_tokens: int) -> Grant:
        """Leave to make a model call. Raises BudgetExhausted, with words for the user. Where there is no budget, it is
        asked for once a turn, and again when the user changed something: a budget may have come."""
        now = turn, self._log.controls_seen
        if self._free == now:
            return Grant()
        wanted = Reservation(
            id=id,
            model=model,
            input_tokens=input_tokens,
            max_output_tokens=LONGEST_ANSWER,
            usage=self._log.history.turn(turn).usage(),
        )
        grant = await self._plane.reserve(wanted)
        self._free = now if grant.max_output_tokens is None else None
        return grant

    async def beat(self) -> None:
        """Heartbeats for ever."""
        while True:
            await asyncio.sleep(self._config.heartbeat_seconds)
            await self.progress()

    async def _deliver(
        self, kind: ReportKind, turn: int | None, through: int, detail: str = "", needs_user: Need | None = None
    ) -> None:
        report = self._report(kind, turn, through, detail)
        report.needs_user = needs_user
        report.id = f"{kind}-{turn or 0}-{through}-g{self._config.generation}"
        async with self._order:
            await patiently(lambda: self._plane.report(report))

    def _report(self, kind: ReportKind, turn: int | None, through: int, detail: str = "") -> NewReport:
        usage = self._log.history.turn(turn).usage() if turn is not None else []
        return NewReport(
            kind=kind,
            generation=self._config.generation,
            turn=turn,
            through_seq=through,
            detail=detail,
            usage=usage,
        )
