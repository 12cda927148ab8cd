"""The agent: run -> turn -> step -> execute. It keeps nothing that the log does not say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from nightshift import telemetry
from nightshift.errors import ContextTooLong, NightshiftError, Permanent, UserError
from nightshift.models import MAX_TEXT, Item, ItemKind, NewItem, WorkerConfig, new_id
from worker import history, replies, tools
from worker.drafts import Drafts
from worker.envelope import Envelope
from worker.log import Log
from worker.masking import storable
from worker.model import Model, ModelFault, Prompt
from worker.prompt import system_prompt
from worker.reports import Reports

logger = logging.getLogger(__name__)

RESTARTED = "interrupted by a restart; check before you repeat it"
INTERRUPTED = "interrupted by the user"
MOST_EMPTY = 2
"""Empty responses in a row that end a turn; the first is answered with a nudge."""
MOST_CUT = 5
"""Responses in a row that were cut off at their length limit before a turn ends."""


class Ended(Exception):
    """This turn is over without an answer. The message is for the user, `code` for programs."""

    def __init__(self, code: str, message: str, level: Literal["info", "warning", "error"] = "error") -> None:
        super().__init__(message)
        self.code = code
        self.level: Literal["info", "warning", "error"] = level


class Agent:
    def __init__(
        self,
        config: WorkerConfig,
        log: Log,
        model: Model,
        drafts: Drafts,
        reports: Reports,
        toolset: tools.Toolset,
        bench: tools.Workbench,
        folder: Path,
    ) -> None:
        self._config = config
        self._log = log
        self._model = model
        self._drafts = drafts
        self._reports = reports
        self._tools = toolset
        self._bench = bench
        self._folder = folder
        self._seen = 0

    async def run(self) -> None:
        """Serve turns for ever. What an earlier start answered but perhaps did not report is reported again."""
        if closing := history.last_closing(self._log.items):
            await self._reports.closed(closing)
        while True:
            await self._log.until(lambda: history.open_turn(self._log.items) is not None)
            turn = history.open_turn(self._log.items)
            assert turn is not None
            with self._span("turn", turn=turn):
                await self._turn(turn)
            closing = history.last_closing(self._log.items)
            assert closing is not None
            await self._reports.closed(closing)

    async def _turn(self, turn: int) -> None:
        """From the user's message to an answer, or to a notice that says why there is none."""
        self._seen = max(turn, history.seen(self._log.items, turn))
        try:
            await self._interruptible(self._tools.renew(), turn)
            while not await self._step(turn):
                await self._reports.progress()
        except Ended as end:
            await self._close(turn, end)
        except UserError:  # the control plane no longer wants this worker
            raise
        except Permanent as fault:
            logger.error("turn %d: %s", turn, fault)
            await self._close(turn, Ended(_code(fault), f"{fault}\n\n{fault.advice}".strip()))
        except Exception as fault:
            logger.exception("turn %d", turn)
            reason = str(fault) if isinstance(fault, NightshiftError) else f"{type(fault).__name__}: {fault}"
            await self._close(
                turn, Ended("turn_failed", f"The worker failed: {reason}\n\nSend a message to try again.")
            )

    async def _step(self, turn: int) -> bool:
        """One model call and the tools it asks for. True if it was the answer."""
        for call in history.dangling(self._log.items):
            await self._resume(call, turn)
        if asked := history.awaits_yes(self._log.items):
            raise Ended("approval_needed", f"This needs your yes. {asked.reason}\n\n{asked.action}", level="warning")
        if history.steps(self._log.items, turn) >= self._config.max_steps:
            raise Ended("step_limit", f"Stopped after {self._config.max_steps} steps. Send a message to go on.")
        items = await self._query(turn)
        for call in items:
            if call.kind is ItemKind.TOOL_CALL:
                await self._execute(call, turn)
        if history.nudged_in_a_row(self._log.items, turn, history.EMPTY) >= MOST_EMPTY:
            raise Ended("turn_failed", "The model answered with nothing, twice. Send a message to try again.")
        if history.nudged_in_a_row(self._log.items, turn, history.CUT) >= MOST_CUT:
            raise Ended("turn_failed", f"The model's answers were too long, {MOST_CUT} times. Ask for less at once.")
        return any(item.final or item.code in history.CLOSING for item in items)

    async def _query(self, turn: int) -> list[Item]:
        """Ask the model, and store what it says before anything is done with it."""
        conversation = self._log.items
        seen = history.newest_user(conversation)
        self._seen = max(self._seen, seen)
        prompt = Prompt(
            id=new_id()[:16],
            model=history.chosen_model(conversation, self._config.model),
            instructions=system_prompt(self._config, self._folder, conversation[0].created_at),
            input=history.model_input(conversation),
            tools=self._tools.schemas,
            effort=history.chosen_effort(conversation, turn, self._config.effort),
        )
        show = self._drafts.of(turn, replies.prefix(turn, prompt.id))
        with self._span("model", model=prompt.model):
            reply = await self._interruptible(self._model.respond(prompt, show), turn)
        new = replies.items(reply, turn, self._config.generation, seen, self._config.price_steps)
        return await self._log.append(*new)

    async def _execute(self, call: Item, turn: int) -> None:
        tool = self._tools.get(call.name)
        if not tool:
            names = ", ".join(self._tools.names)
            output = tools.Output(f"There is no tool {call.name!r}. There are: {names}.", is_error=True)
        else:
            bench = self._bench.for_call(turn, call.id, call.call_id or call.id)
            with self._span("tool", tool=tool.name):
                output = await self._interruptible(tool(call.arguments or "", bench), turn)
        await self._answer(call, output)

    async def _resume(self, call: Item, turn: int) -> None:
        """A call that a restart cut short: made again if that is harmless, else the model must look."""
        tool = self._tools.get(call.name)
        if tool and tool.repeatable:
            await self._execute(call, turn)
        else:
            await self._answer(call, tools.Output(RESTARTED, is_error=True))

    async def _answer(self, call: Item, output: tools.Output) -> None:
        await self._log.append(
            NewItem(
                id=history.output_id(call),
                kind=ItemKind.TOOL_OUTPUT,
                turn=call.turn,
                generation=self._config.generation,
                call_id=call.call_id,
                name=call.name,
                text=storable(output.text[:MAX_TEXT]),
                is_error=output.is_error,
                effect=output.effect,
                files=list(output.files),
            )
        )

    async def _close(self, turn: int, end: Ended) -> None:
        for call in history.dangling(self._log.items):
            await self._answer(call, tools.Output(str(end), is_error=True))
        if end.code == "turn_interrupted":
            await self._bench.background.stop_all("was ended by the user's interrupt")
        through = self._log.interrupt_at if end.code == "turn_interrupted" else self._seen
        notice = NewItem(
            id=f"{turn}.closed",
            kind=ItemKind.NOTICE,
            turn=turn,
            generation=self._config.generation,
            code=end.code,
            level=end.level,
            text=str(end),
            raw=Envelope(through_seq=through).raw(),
        )
        await self._log.append(notice)

    def _span(self, name: str, **attributes: str | int) -> AbstractContextManager[object]:
        return telemetry.span(self._config.session_id, name, **attributes)

    async def _interruptible[T](self, work: Coroutine[Any, Any, T], turn: int) -> T:
        """Await the work, or cancel it when the user interrupts this turn.

        Only the model's and the tools' work is awaited so: a write to the log is never left half-known.
        """
        if self._log.interrupt_at >= turn:
            work.close()
            raise Ended("turn_interrupted", INTERRUPTED, level="info")
        working = asyncio.create_task(work)
        stop = asyncio.create_task(self._log.until(lambda: self._log.interrupt_at >= turn))
        try:
            await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            working.cancel()
            await asyncio.wait({working})
            raise Ended("turn_interrupted", INTERRUPTED, level="info")
        finally:
            working.cancel()
            stop.cancel()
            await asyncio.wait({working, stop})


def _code(fault: Permanent) -> str:
    if isinstance(fault, ContextTooLong):
        return "context_too_long"
    return fault.code if isinstance(fault, ModelFault) else "turn_failed"
