"""A few points of the crash sweep, others each time. `make sweep` takes them all."""

from __future__ import annotations

import os
import random

from tests.sweep.__main__ import MODES, describe, points, sweep
from tests.sweep.world import Plan

RUNS_PER_MODE = 2
SEED = "NIGHTSHIFT_SWEEP_SEED"


async def test_no_promise_is_broken_by_a_kill_at_any_of_some_points() -> None:
    seed = int(os.environ.get(SEED) or random.randrange(10**6))
    print(f"{SEED}={seed}")
    drawn, counts = random.Random(seed), await points()
    plans = [Plan(mode, (at,)) for mode in MODES for at in drawn.sample(range(1, counts[mode] + 1), RUNS_PER_MODE)]
    broken = [describe(outcome) for outcome in await sweep(plans, jobs=2) if outcome.violations]
    assert not broken, f"{SEED}={seed}\n" + "\n".join(broken)
