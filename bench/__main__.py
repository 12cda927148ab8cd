"""Prints the figures: `python -m bench` in about a minute, `python -m bench --full` with larger sizes, thrice each."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from bench import browser, loop, measures
from bench.hub import MEMORY, OURS, Rig
from bench.messages import appends, bare
from bench.pages import pages

type Measure = Callable[[measures.Open, int], tuple[float, ...]]
type Row = tuple[str, float, str, str]
"""Name, factor, unit, target in the issue."""

MS, PER = 1000, "ratio <= 1.5"


def figures(full: bool) -> Iterator[tuple[Measure, int, int, list[Row]]]:
    """A measure, its size for our hub and for the in-memory backend, and the rows that it fills."""
    jobs, events, last = (1_000, 1_000, 10_000) if full else (300, 200, 1_000)
    rows: list[Row] = [
        ("session: start, 3 events, 2 activities", 1, "/s", "ratio >= 1"),
        ("  CPU of the hub", MS, "ms", ""),
    ]
    yield measures.throughput, jobs, jobs, rows
    rows = [("event to resumed, p50", MS, "ms", PER), ("event to resumed, p95", MS, "ms", PER)]
    yield measures.resumed, events, events, rows
    rows = [(f"  with {measures.LOAD} new sessions/s, p50", MS, "ms", PER), ("  p95", MS, "ms", PER)]
    yield measures.resumed_loaded, events, events, rows
    for length in (10, 1_000, 10_000) if full else (10, 1_000):
        yield measures.message, length, length, [(f"message {length:,} of a session", MS, "ms", "flat")]
    yield measures.message_without, last, last, [(f"  without continue-as-new, {last:,}", MS, "ms", "")]
    ours, memory = 10_000, (10_000 if full else 1_000)
    sizes = f"{ours:,} / {memory:,} sessions"
    rows = [
        (f"resident with {sizes}", 1e-6, "MB", "< 300"),
        (f"threads with {sizes}", 1, "", "< 50"),
        ("  resident, each session", 1e-3, "kB", ""),
        (f"process start to first answer, {ours:,} / 0", 1, "s", "<= 3"),
        ("  to first work item", 1, "s", "<= 3"),
    ]
    yield measures.sleeping, ours, memory, rows


def show(row: Row, ours: float, other: float) -> None:
    name, factor, unit, target = row
    digits = 0 if max(ours, other) * factor >= 100 else 2
    values = "".join(f"{value * factor:11.{digits}f}" for value in (ours, other))
    print(f"{name:<42}{values} {unit:<3}{ours / other:7.2f}  {target}".rstrip(), flush=True)


def hub(folder: Path, full: bool) -> None:
    """In each round the hubs take turns; what is shown are medians."""
    print(f"\n{'':42}{'ours':>11}{MEMORY:>11}{'ratio':>11}  target")
    for number, (measure, ours, memory, rows) in enumerate(figures(full)):
        found: dict[str, list[tuple[float, ...]]] = {OURS: [], MEMORY: []}
        for round in range(3 if full else 1):
            for kind, size in ((OURS, ours), (MEMORY, memory)):
                found[kind].append(measure(partial(Rig, kind, folder / f"{number}-{round}.db"), size))
        medians = (map(median, zip(*each, strict=True)) for each in found.values())
        for row, *values in zip(rows, *medians, strict=True):
            show(row, *values)


def log(folder: Path, floor: float) -> None:
    print(f"\n{'':42}{'ours':>11}{'insert':>11}{'ratio':>11}")
    for length, seconds in asyncio.run(appends(folder)):
        show((f"append to a session's log of {length:,}", MS, "ms", ""), seconds, floor)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        floor = bare(folder)
        print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB,"
              f" one insert with a sync {floor * MS:.2f} ms, {platform.platform(terse=True)}")  # fmt: skip
        print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},"
              f" durabletask {version('durabletask')}, grpcio {version('grpcio')}")  # fmt: skip
        hub(folder, "--full" in sys.argv[1:])
        log(folder, floor)
        pages(folder)
    browser.show()
    loop.show(200 if "--full" in sys.argv[1:] else 50)


if __name__ == "__main__":
    main()
