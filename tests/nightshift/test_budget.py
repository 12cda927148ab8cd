"""The ledger's rules: a family of sessions in a world of crashes, lost reports and repeats, and one budget."""

from __future__ import annotations

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nightshift.budget import Account, Call, Ledger, reserved, settled, usd

SESSIONS = strategies.sampled_from(["parent", "child-1", "child-2"])
OUTPUT_USD = 2e-6
LIMIT = 0.10


class Worker:
    """One session's worker: what the model server was paid, what of it the log knows, what was reported."""

    def __init__(self) -> None:
        self.generation = 1
        self.paid = 0.0
        self.log = [(0.0, 0)]
        """Cost and number of the calls that the log knows, after each."""
        self.open: tuple[Call, int] | None = None


class Family(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.ledger = Ledger()
        self.limit = LIMIT
        self.workers: dict[str, Worker] = {}
        self.made = 0

    def worker(self, name: str) -> Worker:
        return self.workers.setdefault(name, Worker())

    @rule(name=SESSIONS, input_tokens=strategies.integers(0, 40_000), twice=strategies.booleans())
    def reserve(self, name: str, input_tokens: int, twice: bool) -> None:
        """A reservation brings along what the log knows. Its answer may be lost: then it is sent again."""
        worker = self.worker(name)
        if worker.open:
            return
        self.made += 1
        call = Call(f"c{self.made}", worker.generation, input_tokens * 0.25e-6, OUTPUT_USD, 32_000)
        for _ in range(1 + twice):
            self.ledger = settled(self.ledger, name, *worker.log[-1])
            self.ledger, output = reserved(self.ledger, name, self.limit, call)
            worker.open = (call, output) if output else None

    @rule(name=SESSIONS, share=strategies.floats(0, 1))
    def answer(self, name: str, share: float) -> None:
        """The model answers, and the log has it."""
        worker = self.worker(name)
        if worker.open:
            cost = self._pay(worker, share)
            known, calls = worker.log[-1]
            worker.log.append((known + cost, calls + 1))

    @rule(name=SESSIONS, share=strategies.floats(0, 1), paid=strategies.booleans())
    def crash(self, name: str, share: float, paid: bool) -> None:
        """In the middle of a call, which may be paid all the same; or between two."""
        worker = self.worker(name)
        if worker.open and paid:
            self._pay(worker, share)
        worker.open = None
        worker.generation += 1

    @rule(name=SESSIONS, data=strategies.data())
    def report(self, name: str, data: strategies.DataObject) -> None:
        """Maybe an old one, maybe during a call."""
        told = data.draw(strategies.sampled_from(self.worker(name).log))
        self.ledger = settled(self.ledger, name, *told)

    @rule(more=strategies.floats(0, 0.05))
    def raise_budget(self, more: float) -> None:
        self.limit += more

    def _pay(self, worker: Worker, share: float) -> float:
        assert worker.open
        (call, output), worker.open = worker.open, None
        cost = call.input_usd + output * share * call.output_usd
        worker.paid += cost
        return cost

    @invariant()
    def the_budget_is_kept(self) -> None:
        if hasattr(self, "workers"):
            assert sum(worker.paid for worker in self.workers.values()) <= self.limit + 1e-9
            assert self.ledger.spent_usd + self.ledger.held_usd <= self.limit + 1e-9


TestFamily = Family.TestCase
TestFamily.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_a_heartbeat_during_a_call_leaves_its_reservation_and_the_calls_own_report_settles_it() -> None:
    ledger, output = reserved(Ledger(), "s", 1.0, Call("c1", 1, 0.1, 1e-5, 10_000))
    assert output == 10_000
    assert ledger.held_usd == 0.2
    assert settled(ledger, "s", 0.0, 0) == ledger
    after = settled(ledger, "s", 0.15, 1)
    assert (after.held_usd, after.spent_usd) == (0, 0.15)


def test_the_rest_of_a_budget_pays_for_a_shorter_answer_and_then_for_none() -> None:
    spent = Ledger(accounts={"s": Account(spent_usd=0.90)})
    _, output = reserved(spent, "s", 1.0, Call("c1", 1, 0.05, 1e-5, 10_000))
    assert 4999 <= output <= 5000
    spent = Ledger(accounts={"s": Account(spent_usd=0.945)})
    assert reserved(spent, "s", 1.0, Call("c1", 1, 0.05, 1e-5, 10_000)) == (spent, 0)
    assert reserved(spent, "s", 1.0, Call("free", 1, 0.0, 0.0, 10_000))[1] == 10_000
    assert [usd(amount) for amount in (20, 0.1, 0.05, 0)] == ["$20.00", "$0.10", "$0.0500", "$0.00"]
