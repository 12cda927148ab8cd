"""What is measured of a hub. Both hubs are measured by the same code, each time in a fresh process."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from statistics import median, quantiles

from bench.hub import RUN, Rig

type Open = Callable[[], Rig]
"""Starts the hub on its file, which is new at first."""

LOAD = 20
"""Sessions started per second in the background: the same for both hubs, or the faster one would have more to do."""


def throughput(start: Open, count: int) -> tuple[float, ...]:
    """(sessions per second, the hub's CPU seconds for one), `count` at once, from start to last line."""
    with start() as rig:
        rig.work()
        cpu, begun = sum(rig.process.cpu_times()[:2]), time.perf_counter()
        for _ in range(count):
            rig.send(rig.start, "job")
        for _ in range(count * 3):
            rig.send(rig.ring, rig.next("waits"))
        for _ in range(count):
            rig.next("ends")
        return count / (time.perf_counter() - begun), (sum(rig.process.cpu_times()[:2]) - cpu) / count


def resumed(start: Open, count: int) -> tuple[float, ...]:
    """(p50, p95) seconds from the call of raise_event to the orchestrator's line after its wait, one at a time."""
    with start() as rig:
        rig.work()
        return resumptions(rig, count)


def resumed_loaded(start: Open, count: int) -> tuple[float, ...]:
    """The same while other sessions run."""
    over = threading.Event()

    def load() -> None:
        while not over.wait(1 / LOAD):
            session = rig.start("job")
            for _ in range(3):
                rig.ring(session)

    with start() as rig:
        rig.work()
        loading = threading.Thread(target=load)
        loading.start()
        try:
            return resumptions(rig, count)
        finally:
            over.set()
            loading.join()


def resumptions(rig: Rig, count: int) -> tuple[float, ...]:
    found: list[float] = []
    for session in sleepers(rig, count):
        begun = time.perf_counter()
        rig.ring(session)
        rig.next("resumed")
        found.append(time.perf_counter() - begun)
    return median(found), quantiles(found, n=20)[-1]


def sleepers(rig: Rig, count: int) -> list[str]:
    """Sessions that wait for an event or a timer."""
    for _ in range(count):
        rig.send(rig.start, "sleeper")
    return [rig.next("sleeps") for _ in range(count)]


def sleeping(start: Open, count: int) -> tuple[float, ...]:
    """(bytes, threads) of a hub with `count` waiting sessions, bytes of each; then killed and started again:
    seconds from the start of the process to (the first answer, the first work of a session)."""
    with start() as rig:
        empty = rig.process.memory_info().rss
        rig.work()
        session = sleepers(rig, count)[-1]
        time.sleep(1)  # the last turns are still to be written
        size, threads = rig.process.memory_info().rss, rig.process.num_threads()
    begun = time.perf_counter()
    with start() as rig:
        known = rig.client.get_orchestration_state(session) is not None
        answered = time.perf_counter() - begun
        rig.work()
        if known:
            rig.ring(session)
        else:
            rig.start("sleeper")  # the in-memory backend has forgotten all others
        rig.next("resumed" if known else "sleeps")
        return size, threads, (size - empty) / count, answered, time.perf_counter() - begun


def message(start: Open, length: int) -> tuple[float, ...]:
    """Seconds of one message in a session that had `length` of them: told, heard, told again."""
    with start() as rig:
        rig.work()
        session = rig.start("chat", RUN)
        for _ in range(0, length, RUN):  # many at once, as the way there is not measured
            for _ in range(RUN):
                rig.ring(session)
            for _ in range(RUN):
                rig.next("heard")
        return (tell(rig, session, 3 * RUN),)


def message_without(start: Open, length: int) -> tuple[float, ...]:
    """The same without continue-as-new. The first messages are there before the worker, which hears them at once."""
    with start() as rig:
        session = rig.start("chat", sys.maxsize)
        for _ in range(length):
            rig.ring(session)
        rig.work()
        for _ in range(length):
            rig.next("heard")
        tell(rig, session, 1)  # also waits for the turn that heard them
        return (tell(rig, session, RUN),)


def tell(rig: Rig, session: str, times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        rig.ring(session)
        rig.next("heard")
    return (time.perf_counter() - begun) / times
