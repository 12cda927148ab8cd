"""One run: play the scenario, kill where the plan says so, and see whether everything held."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.sweep.inject.sitecustomize import KILLED, TWO
from tests.sweep.invariants import Found
from tests.sweep.scenario import ANSWERS, MESSAGES, play
from tests.sweep.world import Died, NeverCame, Plan, whole


@dataclass
class Outcome:
    plan: Plan
    found: Found = field(default_factory=lambda: Found(MESSAGES, ANSWERS))
    trace: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    @property
    def violations(self) -> list[str]:
        return self.found.violations

    @property
    def killed_after(self) -> list[str]:
        """The trace's lines of the points after which the kills came."""
        return [point.strip() for point, line in pairwise(self.trace) if line.startswith(KILLED)]


async def run(plan: Plan, keep: Path | None = None) -> Outcome:
    """Never raises for what the product did: that is in the outcome.

    `keep`: where a folder of everything stays, in the place of an earlier run's.
    """
    outcome, begun = Outcome(plan), time.monotonic()
    folder = keep / plan.name if keep else Path(tempfile.mkdtemp(prefix=f"sweep-{plan.name}-"))
    if keep and folder.exists():
        shutil.rmtree(folder)
    try:
        async with whole(plan, folder) as world:
            try:
                await play(world, outcome.found)
            except NeverCame as fault:
                outcome.violations.append(str(fault))
            finally:
                outcome.trace = world.trace()
            outcome.violations.extend(line.strip(" !") for line in outcome.trace if line.startswith(TWO))
    except* Died as faults:
        outcome.violations.extend(str(fault) for fault in faults.exceptions)
    finally:
        outcome.seconds = time.monotonic() - begun
        if keep is None:
            shutil.rmtree(folder)
    return outcome
