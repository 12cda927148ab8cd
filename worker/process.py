"""Processes of tools: each in a group of its own, marked in its environment, and gone when it must be gone."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from nightshift.errors import ModelRetry
from worker import asking
from worker.guard import Guard
from worker.inside import end, program
from worker.outputs import Capture
from worker.sandbox import PYTHON, Sandbox

logger = logging.getLogger(__name__)

TOOLS_MARK = "NIGHTSHIFT_TOOLS"
CALL_MARK = "NIGHTSHIFT_CALL"
MOST = 1_000_000_000
"""Bytes a process may print before it is ended: a loop that prints must not run for half an hour."""
IDLE_SECONDS = 15.0
"""How long a process may do nothing after it printed what looks like a question."""
LOOK_SECONDS = 0.5
FRESH_SECONDS = 60.0
"""How long a sandbox that is ready is used: it shows the system as that was when it was made."""
REST_SECONDS = 1.0
"""How long to wait for the rest of the output of a process that is gone."""


class Overrun(ModelRetry):
    """The process was ended because it ran too long, printed too much or took too much of the machine."""


class Asked(Overrun):
    """The process was ended because it waits for an answer that cannot come."""


@dataclass(frozen=True)
class Setting:
    """Where a process runs and how it is found again."""

    sandbox: Sandbox
    cwd: Path
    environment: Mapping[str, str]
    mark: str
    spare: Spare | None = None
    guard: Guard | None = None


class Process:
    """One process with its children. `start` makes it; whoever has it must call `end`, which may be repeated."""

    def __init__(
        self, process: asyncio.subprocess.Process, capture: Capture, setting: Setting, stdin: int | None, stdout: int
    ) -> None:
        self.capture = capture
        self._process = process
        self._setting = setting
        self._stdin = stdin
        self._exit = asyncio.create_task(process.wait())
        self._pump = asyncio.create_task(self._read(stdout))

    @classmethod
    async def start(cls, argv: Sequence[str], setting: Setting, capture: Capture, *, answers: bool = False) -> Process:
        """With `answers` its stdin is kept open for `send`, else it is empty."""
        try:
            began = None if answers or not setting.spare else await setting.spare.take(argv, setting)
            if began is None:
                environment = {**setting.environment, CALL_MARK: setting.mark}
                began = await _begin(argv, setting, environment, answers=answers)
        except BaseException:
            capture.close()
            await kill(setting.sandbox, CALL_MARK, setting.mark)
            raise
        return cls(began.process, capture, setting, began.stdin, began.stdout)

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.returncode

    async def ended(self, seconds: float, *, patient: bool = False) -> int:
        """The exit code. Raises Overrun when it is time to end it; `patient`: only for having printed too much."""
        deadline, idle = time.monotonic() + seconds, _Idle(self._process.pid)
        while not self._exit.done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise Overrun(f"ended after {seconds:g} s, its limit")
            if self.capture.printed > MOST:
                raise Overrun(f"ended because it printed more than {MOST // 1_000_000} MB")
            if not patient and asking.asks(self.capture.raw) and idle.since(self.capture.printed) > IDLE_SECONDS:
                raise Asked("ended because it waits for an answer")
            await asyncio.wait({self._exit, self._pump}, timeout=min(left, LOOK_SECONDS))
            if self._pump.done():
                self._pump.result()
                await asyncio.wait({self._exit}, timeout=min(left, LOOK_SECONDS))
        if self._setting.guard and (why := self._setting.guard.ended.pop(self._setting.mark, "")):
            raise Overrun(why)
        return self._exit.result()

    def send(self, data: bytes) -> None:
        """Raises ModelRetry if nobody reads."""
        if self._stdin is None:
            raise ModelRetry("Its input is closed.")
        try:
            sent = os.write(self._stdin, data)
        except BlockingIOError:
            raise ModelRetry("It does not read: its input is full.") from None
        except BrokenPipeError:
            raise ModelRetry("It has closed its input.") from None
        if sent < len(data):
            raise ModelRetry(f"It took only {sent} of {len(data)} bytes. Send the rest when it has read them.")

    def close_input(self) -> None:
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    async def end(self) -> None:
        """Afterwards the process and all its children are gone, and its output is complete."""
        self.close_input()
        while True:
            await kill(self._setting.sandbox, CALL_MARK, self._setting.mark)
            with suppress(ProcessLookupError, PermissionError):  # also when it is gone itself: its group may not be
                os.killpg(self._process.pid, signal.SIGKILL)
            done, _ = await asyncio.wait({self._exit}, timeout=1)
            if done:
                break
        await asyncio.wait({self._pump}, timeout=REST_SECONDS)
        if not self._pump.done():  # a child that got away, mark and all, holds the pipe
            self._pump.cancel()
            await asyncio.wait({self._pump})
        self.capture.close()

    async def _read(self, stdout: int) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=1 << 19)
        pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stdout, "rb", buffering=0)
        )
        try:
            while data := await reader.read(1 << 20):
                self.capture.feed(data)
        finally:
            pipe.close()


@dataclass
class _Begun:
    process: asyncio.subprocess.Process
    stdin: int | None
    stdout: int

    def become(self, argv: Sequence[str], setting: Setting) -> None:
        """Of one that waits. Raises BrokenPipeError if it does no more."""
        marks = {TOOLS_MARK: setting.environment.get(TOOLS_MARK, ""), CALL_MARK: setting.mark}
        export = shlex.join(["export", *(f"{name}={value}" for name, value in marks.items())])
        assert self.stdin is not None
        os.write(self.stdin, f"{export}; exec {shlex.join(argv)} </dev/null\0".encode())
        os.close(self.stdin)
        self.stdin = None

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        for each in filter(None, (self.stdin, self.stdout)):
            os.close(each)


async def _begin(argv: Sequence[str], setting: Setting, environment: Mapping[str, str], *, answers: bool) -> _Begun:
    out, their_out = os.pipe()
    their_in, stdin = os.pipe() if answers else (os.open(os.devnull, os.O_RDONLY), None)
    try:
        process = await asyncio.create_subprocess_exec(
            *setting.sandbox.wrap(argv, setting.cwd),
            cwd="/",
            env=environment,
            stdin=their_in,
            stdout=their_out,
            stderr=their_out,
            start_new_session=True,
        )
    except BaseException:
        for each in (out, stdin):
            if each is not None:
                os.close(each)
        raise
    finally:
        os.close(their_out)
        os.close(their_in)
    return _Begun(process, stdin, out)


class Spare:
    """The next command's sandbox, made while the model thinks: that takes longer than most commands run.

    It is not marked as anybody's before it is a command. It ends with its worker, at the latest when that reads no more
    from the other end of its stdin.
    """

    WAIT = ("bash", "-c", "IFS= read -r -d '' command && eval \"$command\"")

    def __init__(self) -> None:
        self._next: tuple[Path, float, asyncio.Task[_Begun]] | None = None

    def prepare(self, setting: Setting) -> None:
        """For a command in this setting, whatever its mark; unless there is one already."""
        if self._next is None and setting.sandbox.confined:
            environment = {name: value for name, value in setting.environment.items() if name != TOOLS_MARK}
            making = _begin(self.WAIT, setting, environment, answers=True)
            self._next = setting.cwd, time.monotonic(), asyncio.create_task(making)

    async def take(self, argv: Sequence[str], setting: Setting) -> _Begun | None:
        """It is this command from now on. None if there is none that is fresh and lives, or not for this folder."""
        if self._next is None or self._next[0] != setting.cwd:
            return None
        fresh = time.monotonic() - self._next[1] < FRESH_SECONDS
        begun = await self._ready()
        if begun and fresh:
            with suppress(BrokenPipeError):
                begun.become(argv, setting)
                return begun
        if begun:
            await begun.end()
        return None

    async def close(self) -> None:
        if begun := await self._ready():
            await begun.end()

    async def _ready(self) -> _Begun | None:
        """Nobody else gets it then."""
        if self._next is None:
            return None
        mine, self._next = self._next, None
        try:
            return await asyncio.shield(mine[2])
        except OSError:
            return None
        except asyncio.CancelledError:
            self._next = mine
            raise


class _Idle:
    """How long a process and its children have neither printed nor computed."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._last: tuple[int, float] = (-1, -1.0)
        self._at = time.monotonic()

    def since(self, printed: int) -> float:
        now = (printed, self._cpu_seconds())
        if now != self._last:
            self._last, self._at = now, time.monotonic()
        return time.monotonic() - self._at

    def _cpu_seconds(self) -> float:
        total = 0.0
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            root = psutil.Process(self._pid)
            for each in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    times = each.cpu_times()
                    total += times.user + times.system
        return total


async def run(argv: Sequence[str], setting: Setting, capture: Capture, seconds: float) -> int:
    """The exit code. Raises Overrun. However it is left, the process and all its children are gone."""
    process = await Process.start(argv, setting, capture)
    try:
        return await process.ended(seconds)
    finally:
        await asyncio.shield(process.end())
        if setting.spare:
            setting.spare.prepare(setting)


async def kill(sandbox: Sandbox, name: str, value: str) -> None:
    """End every process that carries the mark, as whoever may."""
    if sandbox.user is None:
        if left := await asyncio.to_thread(end.end, name, value):
            logger.error("processes %s do not end, not even by SIGKILL", left)
        return
    command = sandbox.wrap([*PYTHON, "-c", program("end.py"), name, value], Path("/"))
    ending = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, cwd="/", env={})
    if await ending.wait() != 0:
        logger.error("processes marked %s=%s could not be ended", name, value)


marked = end.marked
