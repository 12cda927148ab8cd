"""python -m eval [--patch NAME] [TASK ...]: solves the tasks and prints a table. Exit code 1 if not all are solved.

With OPENAI_API_KEY or OPENAI_BASE_URL set that model works (NIGHTSHIFT_MODEL names it), without them a scripted one:
that says nothing of any model, but shows that the harness does what it should.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from pathlib import Path

from cli.up import log_to_terminal
from eval.harness import Result, run
from eval.task import every


async def main(names: list[str], patch: str | None) -> int:
    chosen = [task for task in every() if not names or task.name in names]
    results: list[Result] = []
    print(f"{'task':<12}{'solved':<8}{'time':>8}{'calls':>7}{'cached':>8}{'cost':>10}")
    with tempfile.TemporaryDirectory(prefix="nightshift-eval-") as folder:
        async for it in run(chosen, patch, Path(folder)):
            results.append(it)
            cost = "unpriced" if it.cost_usd is None else f"${it.cost_usd:.4f}"
            told = "yes" if it.solved else "no"
            line = (
                f"{it.task:<12}{told:<8}{it.seconds:6.1f} s{it.calls:7}{it.cached:8.0%}{cost:>10}  {it.problem or ''}"
            )
            print(line.rstrip(), flush=True)
    solved = sum(it.solved for it in results)
    total = sum(it.cost_usd or 0 for it in results)
    print(f"{solved} of {len(results)} solved, {sum(it.calls for it in results)} calls, ${total:.4f}")
    return 0 if solved == len(results) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m eval", description=__doc__)
    parser.add_argument("tasks", nargs="*", help="names; none: all")
    parser.add_argument("--patch", default="solution", help="what the scripted model does: solution, or wrong")
    arguments = parser.parse_args()
    scripted = not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))
    print(
        "model: " + ("scripted, no intelligence in it" if scripted else os.environ.get("NIGHTSHIFT_MODEL", "default"))
    )
    log_to_terminal(logging.CRITICAL)
    sys.exit(asyncio.run(main(arguments.tasks, arguments.patch if scripted else None)))
