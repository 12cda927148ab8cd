"""A hub in a process of its own; durabletask's own client and worker in this one, with sessions that leave marks.

`python -m bench.hub KIND FILE` is that process. It serves until its standard input ends.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

import psutil
from durabletask.client import TaskHubGrpcClient
from durabletask.task import ActivityContext, OrchestrationContext, when_any
from durabletask.worker import TaskHubGrpcWorker

OURS, MEMORY = "ours", "in-memory"
SENDERS = 8
"""Threads that call at once. The in-memory backend has ten for everything, and one of them feeds the worker."""
RUN = 20
"""Messages before continue-as-new, as in orchestrators/session.py."""

type Work = Generator[Any, Any, Any]

_QUIET = logging.getLogger("bench.durabletask")
_QUIET.setLevel(logging.CRITICAL)


class Rig:
    """A hub on `file`, a client, and a worker once `work` was called."""

    def __init__(self, kind: str, file: Path) -> None:
        command = [sys.executable, "-m", "bench.hub", kind, str(file)]
        self._hub = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        assert self._hub.stdout is not None
        address = self._hub.stdout.readline().strip()
        assert address, "the hub did not start"
        self.process = psutil.Process(self._hub.pid)
        self.client = TaskHubGrpcClient(host_address=address, logger=_QUIET, emit_trace_spans=False)
        self._worker = TaskHubGrpcWorker(host_address=address, logger=_QUIET, emit_trace_spans=False)
        self._marks: defaultdict[str, SimpleQueue[str]] = defaultdict(SimpleQueue)
        self._senders = ThreadPoolExecutor(SENDERS)
        self._sent: list[Future[object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Killed, so that the next start on this file is one after a crash."""
        self._hub.kill()
        self._hub.communicate()
        self._senders.shutdown(cancel_futures=True)
        self._worker.stop()
        self.client.close()

    def work(self) -> None:
        for orchestrator in (self.job, self.sleeper, self.chat):
            self._worker.add_orchestrator(orchestrator)
        self._worker.add_activity(echo)
        self._worker.start()

    def start(self, name: str, input: int | None = None) -> str:
        return self.client.schedule_new_orchestration(name, input=input)

    def ring(self, session: str) -> None:
        self.client.raise_orchestration_event(session, "bell")

    def send(self, call: Callable[[str], object], argument: str) -> None:
        """As soon as a sender is free."""
        self._sent.append(self._senders.submit(call, argument))

    def next(self, mark: str) -> str:
        """The next session that leaves this mark."""
        try:
            return self._marks[mark].get(timeout=60)
        except Empty:
            for call in self._sent:
                call.result(timeout=0)  # raises what kept the session from it
            raise

    def _leave(self, ctx: OrchestrationContext, mark: str) -> None:
        if not ctx.is_replaying:
            self._marks[mark].put(ctx.instance_id)

    def job(self, ctx: OrchestrationContext, _: Any) -> Work:
        """Three events and two activities. Six turns if each event is sent only when the session waits for it."""
        for number in range(3):
            self._leave(ctx, "waits")
            yield ctx.wait_for_external_event("bell")
            if number < 2:
                yield ctx.call_activity(echo, input=number)
        self._leave(ctx, "ends")

    def sleeper(self, ctx: OrchestrationContext, _: Any) -> Work:
        timer = ctx.create_timer(timedelta(hours=6))
        bell = ctx.wait_for_external_event("bell")
        self._leave(ctx, "sleeps")
        yield when_any([bell, timer])
        self._leave(ctx, "resumed")

    def chat(self, ctx: OrchestrationContext, messages_per_run: int) -> Work:
        for _ in range(messages_per_run):
            yield ctx.wait_for_external_event("bell")
            self._leave(ctx, "heard")
        ctx.continue_as_new(messages_per_run, save_events=True)


def echo(_: ActivityContext, input: int) -> int:
    return input


def serve(kind: str, file: str) -> None:
    if kind == OURS:
        from embedded.taskhub import TaskHub

        hub = TaskHub(file)
        address = hub.start()
    else:
        from durabletask.testing import create_test_backend

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        hub = create_test_backend(port, max_history_size=1_000_000)
        address = f"127.0.0.1:{port}"
    print(address, flush=True)
    sys.stdin.read()
    del hub  # nothing else had held it, and a server that nobody holds stops
    os._exit(0)


if __name__ == "__main__":
    serve(*sys.argv[1:])
