"""What the log says: nothing else decides where a worker stands."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from nightshift.models import EFFORTS, Approval, Effort, Item, ItemKind, Need, ReportKind, Tokens, TurnUsage
from worker import stuck
from worker.context import ELIDED, SUMMARY, Context
from worker.envelope import Envelope
from worker.model.port import FAULT_CODES

CLOSING: dict[str, tuple[ReportKind, Need | None]] = {
    "turn_failed": (ReportKind.FAILED, Need.FAILURE),
    "step_limit": (ReportKind.FAILED, Need.LIMIT),
    "time_limit": (ReportKind.FAILED, Need.LIMIT),
    "session_limit": (ReportKind.FAILED, Need.LIMIT),
    "budget_exhausted": (ReportKind.FAILED, Need.BUDGET),
    "stuck": (ReportKind.FAILED, Need.FAILURE),
    "turn_interrupted": (ReportKind.INTERRUPTED, None),
    **dict.fromkeys(FAULT_CODES, (ReportKind.FAILED, Need.FAILURE)),
    "approval_needed": (ReportKind.COMPLETED, Need.APPROVAL),
    "plan_proposed": (ReportKind.COMPLETED, Need.PLAN),
}
"""Notices that end a turn as a final answer does: what is reported of it, and what it needs of the user."""
APPROVAL_USED = "approval_used"
"""The notice that a risky action is being done, before it is: the user's yes is used up."""
EMPTY = "empty_response"
"""The notice that nudges a model which said nothing. It carries that call's usage."""
CUT = "response_cut"
"""The notice that has a model go on which was cut off at its length limit. It carries that call's usage if no text
came."""
CIRCLES = "going_in_circles"
"""The notice that tells a model what it repeats; if it does so again, the turn ends as `stuck`."""
NUDGES = (EMPTY, CUT, CIRCLES)
APPROVED = "\n\n[approved: make the call {} again, exactly as it was, once]"
PLAN_APPROVED = "\n\n[approved: your plan; carry it out, all tools work now]"
PLAN_FIRST = "\n\n[plan first: find out what you need, change nothing, and end with propose_plan]"
"""These follow what the user says."""
HARDER = re.compile(r"\bultrathink\b", re.IGNORECASE)
"""In a message: think as hard as you can."""


@dataclass(frozen=True)
class Closing:
    """The end of a turn: every user message up to `through_seq` has its answer."""

    kind: ReportKind
    turn: int | None
    through_seq: int
    detail: str = ""
    needs_user: Need | None = None


@dataclass
class Turn:
    """What the log says of one turn, over all restarts."""

    number: int
    seen: int = 0
    """The newest user message that a model call of this turn had before it."""
    steps: int = 0
    """Model calls."""
    worked: timedelta = timedelta()
    """Time between its items, without that between a stop and the next start."""
    warned: bool = False
    """The model was told that it goes round in circles."""
    actions: deque[stuck.Action] = field(default_factory=lambda: deque(maxlen=stuck.MEMORY))
    """The newest, since the user or a warning said something."""
    _tokens: dict[tuple[str, int], Tokens] = field(default_factory=dict[tuple[str, int], Tokens])
    _code: tuple[str | None, int] = (None, 0)
    _last: Item | None = None

    def usage(self) -> list[TurnUsage]:
        """Cumulative tokens."""
        return [
            TurnUsage(turn=self.number, model=model, above=above, tokens=tokens)
            for (model, above), tokens in self._tokens.items()
        ]

    def in_a_row(self, code: str) -> int:
        """How often the model got this notice since it last called a tool."""
        return self._code[1] if self._code[0] == code else 0

    def add(self, item: Item, envelope: Envelope) -> None:
        self.seen = max(self.seen, envelope.through_seq or 0)
        if envelope.usage and envelope.model:
            key = envelope.model, envelope.above or 0
            self._tokens[key] = self._tokens.get(key, Tokens()) + envelope.usage
            self.steps += 1
        if item.code == CIRCLES:
            self.warned = True
            self.actions.clear()
        silent = item.kind in (ItemKind.REASONING, ItemKind.ASSISTANT_MESSAGE) or item.code in (ELIDED, SUMMARY)
        if not silent:
            code, count = self._code
            self._code = (item.code, count + 1 if item.code == code else 1)
        if self._last and self._last.generation == item.generation:
            self.worked += item.created_at - self._last.created_at
        self._last = item


class History:
    """The log, taken in item by item in order of seq. Nothing is looked up twice, so that a step of a long session
    costs what a step of a short one does."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.items: list[Item] = []
        self.context = Context()
        """What the model is to read."""
        self.planning = False
        """A plan must be approved before anything is changed. A yes is for the newest plan."""
        self.allowances = 1
        """How often the session was given its steps and its time: at first, and after each `session_limit`."""
        self.closing: Closing | None = None
        """The end of the newest turn that ended."""
        self._users: list[Item] = []
        self._dangling: dict[str, Item] = {}
        self._turns: dict[int, Turn] = {}
        self._model: str | None = None
        self._plan: str | None = None
        for item in items:
            self.add(item)

    def add(self, item: Item) -> None:
        envelope, note = Envelope.of(item), ""
        self.items.append(item)
        self._model = item.model or self._model
        if item.turn is not None:
            self.turn(item.turn).add(item, envelope)
        match item.kind:
            case ItemKind.USER_MESSAGE:
                note = self._hear(item)
            case ItemKind.TOOL_CALL:
                self._dangling[output_id(item)] = item
            case ItemKind.TOOL_OUTPUT:
                if (call := self._dangling.pop(item.id, None)) and call.turn is not None:
                    self.turn(call.turn).actions.append(stuck.Action.of(call, item))
                    if item.effect and item.effect.approval and item.effect.approval.kind == "plan":
                        self._plan = call.id
            case _:
                pass
        self._close(item, envelope.through_seq or 0)
        self.context.add(item, envelope, told=item.code in CLOSING or item.code in NUDGES, note=note)

    @property
    def newest_user(self) -> int:
        return self._users[-1].seq if self._users else 0

    @property
    def answered(self) -> int:
        return self.closing.through_seq if self.closing else 0

    @property
    def open_turn(self) -> int | None:
        """The oldest user message without an answer: it names the turn."""
        oldest = None
        for user in reversed(self._users):
            if user.seq <= self.answered:
                break
            oldest = user.seq
        return oldest

    @property
    def dangling(self) -> list[Item]:
        """Tool calls without an output."""
        return list(self._dangling.values())

    def turn(self, number: int) -> Turn:
        return self._turns.setdefault(number, Turn(number))

    @property
    def steps(self) -> int:
        """Model calls of all turns."""
        return sum(turn.steps for turn in self._turns.values())

    @property
    def worked(self) -> timedelta:
        return sum((turn.worked for turn in self._turns.values()), timedelta())

    def model(self, otherwise: str) -> str:
        """The newest that a user's message asked for, else the session's."""
        return self._model or otherwise

    def effort(self, turn: int, otherwise: Effort | None) -> Effort | None:
        """The newest that a message of this turn asked for, else the session's."""
        messages = [user for user in self._users if user.seq >= turn]
        if any(HARDER.search(message.text) for message in messages):
            return EFFORTS[-1]
        asked: list[Effort] = [message.effort for message in messages if message.effort]
        return asked[-1] if asked else otherwise

    def _hear(self, message: Item) -> str:
        """What the model is told after the user's words."""
        self._users.append(message)
        for turn in self._turns.values():
            turn.actions.clear()
        note = APPROVED.format(message.approves) if message.approves else ""
        if message.approves and message.approves == self._plan:
            self.planning, self._plan, note = False, None, PLAN_APPROVED
        if message.plan is not None:
            self.planning = message.plan
        return note + PLAN_FIRST if self.planning else note

    def _close(self, item: Item, through: int) -> None:
        detail, need = "", None
        if item.kind is ItemKind.ASSISTANT_MESSAGE and item.final:
            kind = ReportKind.COMPLETED
        elif item.kind is ItemKind.NOTICE and item.code in CLOSING:
            (kind, need), detail = CLOSING[item.code], item.text[:4000]
            self.allowances += item.code == "session_limit"
        else:
            return
        if self.closing is None or through > self.closing.through_seq:
            self.closing = Closing(kind, item.turn, through, detail, need)


def output_id(call: Item) -> str:
    return f"{call.id}.out"


def used_id(call_id: str) -> str:
    return f"{call_id}.used"


def awaits_yes(items: Sequence[Item]) -> Approval | None:
    """What the newest tool calls asked the user for, if nobody has said anything since."""
    for item in reversed(items):
        if item.kind is ItemKind.TOOL_OUTPUT and item.effect and item.effect.approval:
            return item.effect.approval
        if item.kind is ItemKind.USER_MESSAGE or item.code in CLOSING or Envelope.of(item).response_id:
            return None
    return None


def unused_yes(items: Sequence[Item], approval: Approval) -> list[str]:
    """The tool calls (their items' ids) that asked for exactly this, were approved and have not been made since."""
    ids = {item.id for item in items}
    asked = {item.id for item in items if item.effect and item.effect.approval == approval}
    said = {item.approves for item in items if item.kind is ItemKind.USER_MESSAGE and item.approves}
    return [call_id for call_id in sorted(said) if f"{call_id}.out" in asked and used_id(call_id) not in ids]
