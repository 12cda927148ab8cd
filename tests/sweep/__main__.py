"""The crash sweep: kill after every point of a session's life, and look whether a promise was broken.

    python -m tests.sweep                          every point, every mode
    python -m tests.sweep --sample 50 --seed 7     some of them
    python -m tests.sweep --mode host --at 37      one of them; --keep FOLDER keeps its data, logs and trace
    python -m tests.sweep --done FILE              what FILE does not list yet: hours need not be spent at a stretch
    python -m tests.sweep --twice                  every point, and again a few points later: while it recovers

Modes: `host` kills the server, `worker` kills the agent (what its tools started lives on), `both` kills both and the
tools, as when the power goes. Points vary a little between runs, for processes race: the trace's line says what was
met.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tests.sweep.run import Outcome, run
from tests.sweep.world import Mode, Plan

MODES: tuple[Mode, ...] = ("host", "worker", "both")
SOON = 40
"""Points: a second kill comes within so many of the first."""


async def points(keep: Path | None = None) -> dict[Mode, int]:
    """How many there are, by a run that kills nobody. Only where a worker lives can one be killed."""
    outcome = await run(Plan("none"), keep)
    if outcome.violations:
        raise SystemExit("nobody was killed, and yet:\n  " + "\n  ".join(outcome.violations))
    lines = [line for line in outcome.trace if line[:5].strip().isdigit()]
    alive = [line for line in lines if line[5] == "w"]
    return {"host": len(lines), "worker": len(alive), "both": len(lines)}


async def sweep(plans: Iterable[Plan], jobs: int, keep: Path | None = None, done: Path | None = None) -> list[Outcome]:
    """`done`: where each plan that held is noted, a line each; of these, `keep` keeps nothing."""
    outcomes: list[Outcome] = []
    waiting = list(reversed(list(plans)))
    total, begun = len(waiting), time.monotonic()

    async def work() -> None:
        while waiting:
            outcome = await run(waiting.pop(), keep)
            outcomes.append(outcome)
            if outcome.violations:
                print(describe(outcome), flush=True)
            elif done:
                with done.open("a") as notes:
                    notes.write(f"{outcome.plan.name}\n")
                if keep:  # hundreds of them would fill the disk
                    shutil.rmtree(keep / outcome.plan.name)
            if len(outcomes) % 25 == 0:
                print(f"{len(outcomes)} of {total} after {time.monotonic() - begun:.0f} s", flush=True)

    await asyncio.gather(*(work() for _ in range(jobs)))
    return outcomes


def describe(outcome: Outcome) -> str:
    plan = outcome.plan
    again = f"python -m tests.sweep --mode {plan.mode} --at {','.join(map(str, plan.at))}"
    lines = [f"{plan.mode} killed after: {point}" for point in outcome.killed_after] or ["ended before it was killed"]
    return "\n".join([*lines, f"    again: {again}", *(f"    {violation}" for violation in outcome.violations)])


def table(counts: dict[Mode, int], outcomes: list[Outcome]) -> str:
    rows = [f"{'mode':8}{'points':>8}{'runs':>8}{'kills':>8}{'violations':>12}{'lost answers':>14}{'s/run':>8}"]
    for mode in MODES:
        mine = [each for each in outcomes if each.plan.mode == mode]
        if mine:
            kills = sum(len(each.killed_after) for each in mine)
            bad = sum(bool(each.violations) for each in mine)
            lost = sum(each.found.lost_answers for each in mine)
            pace = sum(each.seconds for each in mine) / len(mine)
            rows.append(f"{mode:8}{counts.get(mode, 0):8}{len(mine):8}{kills:8}{bad:12}{lost:14}{pace:8.1f}")
    kinds = {kind(line) for each in outcomes for line in each.killed_after}
    longest = max((each.found.events for each in outcomes), default=0)
    rows += [
        f"Killed after {len(kinds)} kinds of points. Longest history: {longest} events.",
        "Lost answers: the model gave them, but their worker died before it stored them, so no usage knows of them.",
        "At most one is allowed for each worker that the kill made necessary. All other usage is exact.",
    ]
    return "\n".join(rows)


def kind(line: str) -> str:
    """The point without what differs from run to run."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "#", " ".join(line.split()[2:]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__, formatter_class=_Plain)
    parser.add_argument("--mode", choices=MODES, help="only this one")
    parser.add_argument("--at", type=_numbers, help="only after this point, or these, as 37,52")
    parser.add_argument("--twice", action="store_true", help="kill each run again while it recovers")
    parser.add_argument("--sample", type=int, help="so many runs, drawn from all")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--done", type=Path, help="file of the runs that held: they are noted, and not done again")
    parser.add_argument("--keep", type=Path, help="folder for the folders of all runs")
    asked = parser.parse_args()
    sys.exit(asyncio.run(_main(asked)))


async def _main(asked: argparse.Namespace) -> int:
    if (own := asyncio.current_task()) is not None:  # whatever was started is ended then, as by Ctrl-C
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, own.cancel)
    modes: tuple[Mode, ...] = (asked.mode,) if asked.mode else MODES
    counts: dict[Mode, int] = {}
    drawn = random.Random(asked.seed)
    if asked.at is not None:
        plans = [Plan(mode, asked.at) for mode in modes]
    else:
        counts = await points(asked.keep)
        plans = [Plan(mode, (at,)) for mode in modes for at in range(1, counts[mode] + 1)]
        plans = drawn.sample(plans, len(plans) if asked.sample is None else asked.sample)  # all: shuffled
        if asked.twice:
            plans = [replace(plan, at=(*plan.at, plan.at[0] + drawn.randint(1, SOON))) for plan in plans]
    held = set(asked.done.read_text().split()) if asked.done and asked.done.exists() else set[str]()
    plans = [plan for plan in plans if plan.name not in held]
    outcomes = await sweep(plans, asked.jobs, asked.keep, asked.done)
    print(table(counts, outcomes))
    bad = [each for each in outcomes if each.violations]
    for outcome in bad:
        print(describe(outcome))
    return 1 if bad else 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


class _Plain(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    main()
