"""Processes that the agent declared to go on between calls: a server, a watcher, a long test run.

They end with the worker, at the latest. Each has a record beside its output, so that after a restart of the worker the
agent is told of those that ended with it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from nightshift.errors import ModelRetry
from worker.masking import Secrets
from worker.outputs import Capture, Outputs
from worker.process import Overrun, Process, Setting

MOST = 10
"""That may run at once."""
SETTLE_SECONDS, QUIET_SECONDS = 1.0, 0.2
"""How long a process that has just begun is watched, and how long after its last output: what fails at once is told at
once."""
LONGEST_SECONDS = 7 * 24 * 3600.0


@dataclass
class Job:
    id: str
    command: str
    process: Process
    started: float = field(default_factory=time.monotonic)
    ended: str = ""
    """How and why; empty while it runs."""
    read: int = 0
    """Bytes of its output file that the agent has read."""
    seen: int = 0
    """Bytes that it had printed at the last look."""
    watch: asyncio.Task[None] | None = None

    @property
    def file(self) -> str:
        """The name of its output."""
        return f"{self.id}.txt"

    @property
    def state(self) -> str:
        return self.ended or f"has been running for {time.monotonic() - self.started:.0f} s"


class Background:
    def __init__(self, outputs: Outputs, secrets: Secrets) -> None:
        self._outputs = outputs
        self._secrets = secrets
        self._jobs: dict[str, Job] = {}
        self._earlier = dict(_records(outputs))
        self._number = max((int(id[2:]) for id in map(_id, outputs.names()) if id), default=0)

    async def start(self, argv: Sequence[str], command: str, setting: Setting) -> Job:
        """Returns when it has ended, has said its first words, or a moment has passed. Raises ModelRetry."""
        if sum(not job.ended for job in self._jobs.values()) >= MOST:
            raise ModelRetry(f"{MOST} processes run in the background already. Stop one of them first.")
        self._number += 1
        id = f"bg{self._number}"
        capture = Capture(self._outputs.create(f"{id}.txt"), self._secrets)
        job = Job(id, command, await Process.start(argv, setting, capture, answers=True))
        self._jobs[id] = job
        self._record(job)
        job.watch = asyncio.create_task(self._watch(job))
        await self.wait(job, SETTLE_SECONDS)
        while job.process.capture.printed and not job.ended and time.monotonic() < job.started + SETTLE_SECONDS:
            if not await self.wait(job, QUIET_SECONDS):
                break
        return job

    def job(self, id: str | None) -> Job:
        """Raises ModelRetry, with those that there are."""
        if job := self._jobs.get(id or ""):
            return job
        if id in self._earlier:
            raise ModelRetry(f"{id} ended when the machine or the worker was restarted. Start it anew if it is needed.")
        known = ", ".join(self._jobs) or "none"
        raise ModelRetry(f"There is no background process {id!r}. There are: {known}.")

    def describe(self) -> str:
        """One line each."""
        lines = [f"{id}  ended when the worker was restarted  $ {text}" for id, text in self._earlier.items()]
        lines += [f"{job.id}  {job.state}  $ {_short(job.command)}" for job in self._jobs.values()]
        return "\n".join(lines) or "[no background processes]"

    async def wait(self, job: Job, seconds: float) -> bool:
        """Until it prints something more or has ended. False if neither came."""
        deadline, printed = time.monotonic() + seconds, job.process.capture.printed
        while not job.ended and job.process.capture.printed == printed and time.monotonic() < deadline:
            assert job.watch
            await asyncio.wait({job.watch}, timeout=0.05)
        return bool(job.ended) or job.process.capture.printed > printed

    async def stop(self, job: Job, why: str) -> None:
        if not job.ended:
            job.ended = why
            await job.process.end()
            self._record(job)

    async def stop_all(self, why: str) -> None:
        await asyncio.gather(*(self.stop(job, why) for job in self._jobs.values()))

    async def close(self) -> None:
        """The worker ends. Its processes are ended with all that tools left; their records stay for the next worker."""
        for job in self._jobs.values():
            if job.watch:
                job.watch.cancel()
        if watches := [job.watch for job in self._jobs.values() if job.watch]:
            await asyncio.wait(watches)

    async def _watch(self, job: Job) -> None:
        why = ""
        try:
            code = await job.process.ended(LONGEST_SECONDS, patient=True)
            why = f"ended by itself, exit code {code}"
        except (Overrun, OSError) as fault:
            why = str(fault)
        await self.stop(job, why)

    def _record(self, job: Job) -> None:
        """A record says what the agent's next worker must tell of it: nothing, once its end was seen."""
        name = f"{job.id}.json"
        if job.ended:
            self._outputs.remove(name)
            return
        with self._outputs.create(name) as file:
            file.write(json.dumps({"command": self._secrets.mask(_short(job.command))}).encode())


def _records(outputs: Outputs) -> list[tuple[str, str]]:
    """(id, command) of those that an earlier worker left. The folder may be the agent's own: anything may be in it."""
    found: list[tuple[str, str]] = []
    for name in outputs.names():
        id = _id(name)
        if id and name.endswith(".json"):
            with suppress(OSError, ValueError, KeyError, TypeError), outputs.open(name) as file:
                found.append((id, str(json.loads(file.read(10_000))["command"])[:300]))
    return sorted(found, key=lambda record: int(record[0][2:]))


def _id(name: str) -> str | None:
    id = name.partition(".")[0]
    return id if id.startswith("bg") and id[2:].isdecimal() and len(id) < 12 else None


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 200 else line[:200] + " ..."
