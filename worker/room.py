"""Keeps the conversation within what the model can read at once: puts long texts away in files, has older turns summed
up, and writes both into the log. What is to be done is decided in `worker.context`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

from nightshift.errors import ContextTooLong, Permanent
from nightshift.models import ItemKind, NewItem, WorkerConfig, new_id
from worker import context, counter, replies
from worker.context import Elide, Move, Summarize
from worker.envelope import Envelope
from worker.log import Log
from worker.model import Prompt, Reply
from worker.outputs import Outputs

SUMMARISE = """\
[context_summary] The conversation is about to grow longer than you can read at once. What came before this message,
but for the user's own messages, will be replaced by the summary that you write now. Call no tool. Write down, briefly,
all that is needed to go on: the task as you understand it, what was decided and why, what was done (files, branches,
commits, pull requests), what was found out, what failed, what is to be done next."""
ROUNDS = 8
"""Of making room for one request. Each frees something, so more are never needed."""
SUMMARY_SHARE = 8
"""A summary may be the window's length divided by this, in tokens."""
SHRINK = 0.8
"""After a refusal the window is taken to be so much of the request that was refused."""


class Room:
    def __init__(
        self, config: WorkerConfig, log: Log, outputs: Outputs, ask: Callable[[Prompt, int], Awaitable[Reply]]
    ) -> None:
        """`ask` makes a model call for a turn."""
        self._config = config
        self._log = log
        self._outputs = outputs
        self._ask = ask

    def size(self, prompt: Prompt) -> int:
        """Tokens of the prompt with the conversation as it stands."""
        return self._log.history.context.size(_fixed(prompt))

    async def make(self, prompt: Prompt, turn: int) -> Prompt:
        """The prompt with a conversation that fits. Raises Permanent if nothing can be left out any more."""
        if context.plan(self._log.history.context, _fixed(prompt), self._window(prompt.model)):
            await self._log.settled()  # a move names items by their seq
        conversation, window = self._log.history.context, self._window(prompt.model)
        for _ in range(ROUNDS):
            moves = context.plan(conversation, _fixed(prompt), window)
            for move in moves:
                await self._carry_out(move, prompt, turn)
            if not moves:
                break
        if self.size(prompt) > window:
            raise Permanent(
                f"The conversation cannot be made short enough for {prompt.model}, which reads {window} tokens.",
                "Choose a model that reads more, or begin a new session.",
            )
        return replace(prompt, input=conversation.input())

    async def refused(self, prompt: Prompt, turn: int) -> None:
        """The server says that this prompt is too long, whatever the price table says: remember it."""
        window = int(min(self._window(prompt.model), self.size(prompt)) * SHRINK)
        await self._tell(turn, "The model server takes less than was thought.", window=window, model=prompt.model)

    def restore(self) -> None:
        """After a start: what was put away may have been on another disk."""
        for item in self._log.items:
            for seq in Envelope.of(item).elided or []:
                self._keep(seq)

    async def _carry_out(self, move: Move, prompt: Prompt, turn: int) -> None:
        match move:
            case Elide(seqs):
                for seq in seqs:
                    self._keep(seq)
                text = f"Put {len(seqs)} long texts away to save room; the model finds them in {self._outputs.path}."
                await self._tell(turn, text, elided=seqs, kept_in=str(self._outputs.path))
            case Summarize(through):
                await self._summarize(through, prompt, turn)

    async def _summarize(self, through: int, prompt: Prompt, turn: int) -> None:
        conversation, window = self._log.history.context, self._window(prompt.model)
        text, paid = "", Envelope()
        tokens = window // SUMMARY_SHARE
        if self.size(prompt) + counter.text(SUMMARISE) + tokens <= window:
            asked = [*(entry.value for entry in conversation.entries), {"role": "system", "content": SUMMARISE}]
            question = replace(prompt, id=new_id()[:16], input=asked, max_output_tokens=tokens)
            try:
                reply = await self._ask(question, turn)
                text, paid = replies.spoken(reply), replies.bill(reply, self._config.price_steps)
            except ContextTooLong:
                pass  # then without the model
        text = (text or context.digest(conversation, through))[: tokens * 4]
        notice = paid.model_copy(update={"covers": through})
        await self._store(turn, context.SUMMARY, text, notice)

    async def _tell(self, turn: int, text: str, **fields: object) -> None:
        await self._store(turn, context.ELIDED, text, Envelope.model_validate(fields))

    async def _store(self, turn: int, code: str, text: str, envelope: Envelope) -> None:
        notice = NewItem(
            id=f"{turn}.{code}.{len(self._log.items)}",
            kind=ItemKind.NOTICE,
            turn=turn,
            generation=self._config.generation,
            code=code,
            text=text,
            raw=envelope.raw(),
        )
        await self._log.append(notice)

    def _window(self, model: str) -> int:
        configured = self._config.context_windows.get(model, self._config.context_window)
        return min(configured, self._log.history.context.windows.get(model, configured))

    def _keep(self, seq: int) -> None:
        content = context.whole(self._log.items[seq - 1]).encode(errors="replace")
        self._outputs.put(context.file_of(seq), content)


def _fixed(prompt: Prompt) -> int:
    return counter.fixed(prompt.instructions, json.dumps(prompt.tools))
