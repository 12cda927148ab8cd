"""The agent: run -> turn -> step -> execute. It keeps nothing that the log does not say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import batched, groupby
from pathlib import Path
from typing import Literal

from nightshift import telemetry
from nightshift.errors import BudgetExhausted, ContextTooLong, NightshiftError, Permanent, UserError
from nightshift.models import MAX_TEXT, Item, ItemKind, NewItem, WorkerConfig, new_id
from worker import history, limits, plans, replies, stuck, tools
from worker.drafts import Drafts
from worker.envelope import Envelope
from worker.log import Log
from worker.masking import storable
from worker.model import Model, ModelFault, Prompt, Reply, Show
from worker.model.port import unseen
from worker.prompt import system_prompt
from worker.reports import Reports
from worker.room import Room

logger = logging.getLogger(__name__)

type Level = Literal["info", "warning", "error"]
RESTARTED = "interrupted by a restart; check before you repeat it"
INTERRUPTED = "interrupted by the user"
OTHERWISE = "Stop, think about why, and go about it in another way; or answer the user with what keeps you."
MOST_EMPTY = 2
"""Empty responses in a row that end a turn; the first is answered with a nudge."""
MOST_CUT = 5
"""Responses in a row that were cut off at their length limit before a turn ends."""
MOST_REFUSED = 4
"""Times that a conversation is shortened for one model call because the server refused its length."""
SIDE_BY_SIDE = 8
"""Tool calls that may run at once."""


class Ended(Exception):
    """This turn is over without an answer. The message is for the user, `code` for programs."""

    def __init__(self, code: str, message: str, level: Level = "error") -> None:
        super().__init__(message)
        self.code = code
        self.level: Level = level


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
        self._room = Room(config, log, bench.outputs, self._ask)
        self._seen = 0
        self._deadline = 0.0
        self._late: limits.Over = ("", "")

    async def run(self) -> None:
        """Serve turns for ever. What an earlier start answered but perhaps did not report is reported again."""
        self._room.restore()
        if ended := self._log.history.closing:
            await self._reports.closed(ended)
        while True:
            await self._log.until(lambda: self._log.history.open_turn is not None)
            turn = self._log.history.open_turn
            assert turn is not None
            with self._span("turn", turn=turn):
                await self._turn(turn)
            ended = self._log.history.closing
            assert ended is not None
            await self._reports.closed(ended)

    async def _turn(self, turn: int) -> None:
        """From the user's message to an answer, or to a notice that says why there is none."""
        so_far = self._log.history.turn(turn)
        self._seen = max(turn, so_far.seen)
        left, self._late = limits.seconds_left(self._log.history, turn, self._config)
        self._deadline = asyncio.get_running_loop().time() + left
        try:
            await self._interruptible(self._tools.renew(), turn)
            while not await self._step(turn):
                await self._reports.step_done()
        except Ended as end:
            await self._close(turn, end)
        except BudgetExhausted as refusal:
            await self._close(turn, Ended("budget_exhausted", f"{refusal}. Raise the budget to go on.", "warning"))
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
        await self._repair(turn)
        if asked := history.awaits_yes(self._log.items):
            if asked.kind == "plan":
                raise Ended("plan_proposed", asked.reason, level="info")
            raise Ended("approval_needed", f"This needs your yes. {asked.reason}\n\n{asked.action}", level="warning")
        if over := limits.steps_over(self._log.history, turn, self._config):
            raise Ended(*over)
        items = await self._query(turn)
        await self._execute([item for item in items if item.kind is ItemKind.TOOL_CALL], turn)
        await self._judge(turn)
        return any(item.final or item.code in history.CLOSING for item in items)

    async def _query(self, turn: int) -> list[Item]:
        """Ask the model, and store what it says before anything is done with it."""
        log = self._log.history
        prompt = Prompt(
            id=new_id()[:16],
            model=log.model(self._config.model),
            instructions=system_prompt(self._config, self._folder, log.items[0].created_at),
            input=[],
            tools=self._tools.schemas,
            effort=log.effort(turn, self._config.effort),
        )
        refused = 0
        while True:
            prompt = await self._room.make(prompt, turn)
            seen = self._log.history.newest_user
            try:
                reply = await self._ask(prompt, turn, self._drafts.of(turn, replies.prefix(turn, prompt.id)))
                break
            except ContextTooLong:
                refused += 1
                if refused > MOST_REFUSED:
                    raise
                await self._room.refused(prompt, turn)
        self._seen = max(self._seen, seen)
        new = replies.items(reply, turn, self._config.generation, seen, self._config.price_steps)
        return await self._log.append(*new)

    async def _ask(self, prompt: Prompt, turn: int, show: Show = unseen) -> Reply:
        """One model call, within the budget."""
        reserving = self._reports.reserve(turn, prompt.id, prompt.model, self._room.size(prompt))
        grant = await self._interruptible(reserving, turn)
        most = min(filter(None, (prompt.max_output_tokens, grant.max_output_tokens)), default=None)
        with self._span("model", model=prompt.model):
            return await self._interruptible(self._model.respond(replace(prompt, max_output_tokens=most), show), turn)

    async def _execute(self, calls: list[Item], turn: int) -> None:
        """In order; those that only look run side by side with their neighbours.

        What they gave is stored before anything else is done. Only the model is asked meanwhile: a crash then repeats
        that question and nothing else.
        """
        for group in self._groups(calls):
            await self._log.settled()
            outputs = await self._interruptible(asyncio.gather(*(self._output(call, turn) for call in group)), turn)
            self._answer(*zip(group, outputs, strict=True))

    def _groups(self, calls: list[Item]) -> Iterator[tuple[Item, ...]]:
        for reads, neighbours in groupby(calls, lambda call: (tool := self._tools.get(call.name)) and tool.reads):
            yield from batched(neighbours, SIDE_BY_SIDE if reads else 1, strict=False)

    async def _output(self, call: Item, turn: int) -> tools.Output:
        if tool := self._tools.get(call.name):
            if self._log.history.planning and (refused := plans.refusal(tool)):
                return refused
            bench = self._bench.for_call(turn, call.id, call.call_id or call.id)
            with self._span("tool", tool=tool.name):
                return await tool(call.arguments or "", bench)
        names = ", ".join(self._tools.names)
        return tools.Output(f"There is no tool {call.name!r}. There are: {names}.", is_error=True)

    async def _repair(self, turn: int) -> None:
        """Calls that a restart cut short: made again if that is harmless, else the model must look."""
        for call in self._log.history.dangling:
            tool = self._tools.get(call.name)
            if tool and tool.repeatable:
                await self._execute([call], turn)
            else:
                self._answer((call, tools.Output(RESTARTED, is_error=True)))

    async def _judge(self, turn: int) -> None:
        """Whether it is worth while to go on."""
        so_far = self._log.history.turn(turn)
        if so_far.in_a_row(history.EMPTY) >= MOST_EMPTY:
            raise Ended("turn_failed", "The model answered with nothing, twice. Send a message to try again.")
        if so_far.in_a_row(history.CUT) >= MOST_CUT:
            raise Ended("turn_failed", f"The model's answers were too long, {MOST_CUT} times. Ask for less at once.")
        if why := stuck.reason(so_far.actions):
            if so_far.warned:
                raise Ended("stuck", f"Stopped, because the agent goes round in circles: {why}. Tell it how to go on.")
            await self._log.append(self._notice(turn, history.CIRCLES, f"You go round in circles: {why}. {OTHERWISE}"))

    def _answer(self, *answers: tuple[Item, tools.Output]) -> None:
        self._log.put(
            *(
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
                for call, output in answers
            )
        )

    async def _close(self, turn: int, end: Ended) -> None:
        for call in self._log.history.dangling:
            self._answer((call, tools.Output(str(end), is_error=True)))
        if end.code == "turn_interrupted":
            await self._bench.background.stop_all("was ended by the user's interrupt")
        notice = self._notice(turn, end.code, str(end), end.level)
        notice.id = f"{turn}.closed"
        through = self._log.interrupt_at if end.code == "turn_interrupted" else self._seen
        notice.raw = Envelope(through_seq=through).raw()
        await self._log.append(notice)

    def _notice(self, turn: int, code: str, text: str, level: Level = "warning") -> NewItem:
        id, generation = f"{turn}.{code}", self._config.generation
        kind = ItemKind.NOTICE
        return NewItem(id=id, kind=kind, turn=turn, generation=generation, code=code, level=level, text=text)

    def _span(self, name: str, **attributes: str | int) -> AbstractContextManager[object]:
        return telemetry.span(self._config.session_id, name, **attributes)

    async def _interruptible[T](self, work: Awaitable[T], turn: int) -> T:
        """Await the work, or cancel it when the user interrupts this turn or its time is over.

        Only the model's and the tools' work is awaited so: a write to the log is never left half-known.
        """
        working = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._log.until(lambda: self._log.interrupt_at >= turn))
        try:
            left = max(0.0, self._deadline - asyncio.get_running_loop().time())
            if self._log.interrupt_at < turn:
                await asyncio.wait({working, stop}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if self._log.interrupt_at >= turn:
                raise Ended("turn_interrupted", INTERRUPTED, level="info")
            raise Ended(*self._late)
        finally:
            working.cancel()
            stop.cancel()
            await asyncio.wait({working, stop})


def _code(fault: Permanent) -> str:
    if isinstance(fault, ContextTooLong):
        return "context_too_long"
    return fault.code if isinstance(fault, ModelFault) else "turn_failed"
