"""Processes of tools: each in a group of its own, marked in its environment, and gone when it must be gone.

The group alone is not enough: a child may leave it, and a worker that was killed forgets its groups. So a process is
also found by a variable in its environment (Linux: /proc).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nightshift.errors import ModelRetry

logger = logging.getLogger(__name__)

TOOLS_MARK = "NIGHTSHIFT_TOOLS"
CALL_MARK = "NIGHTSHIFT_CALL"
GRACE = 0.6
"""Seconds between SIGTERM and SIGKILL."""
UNKILLABLE = 10.0
"""Seconds after which a process that survives SIGKILL (it waits for a disk) is left to the kernel."""
LARGEST_OUTPUT = 100_000_000
"""Bytes a process may print before it is ended: a loop that prints must not fill the disk."""


class Overrun(ModelRetry):
    """The process was ended because it ran too long or printed too much."""


async def run(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path, seconds: float, mark: str
) -> int:
    """The exit code; stdout and stderr go to the file, where children in the background may go on writing.

    Raises Overrun. However it is left but by the process's own end, the process and all its children are gone.
    """
    process = None
    try:
        with output.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=cwd,
                env={**env, CALL_MARK: mark},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return await _finish(process, output, seconds)
    except BaseException:
        await kill(CALL_MARK, mark, process.pid if process and process.returncode is None else None)
        raise


async def _finish(process: asyncio.subprocess.Process, output: Path, seconds: float) -> int:
    ended = asyncio.ensure_future(process.wait())
    deadline = time.monotonic() + seconds
    try:
        while not ended.done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise Overrun(f"ended after {seconds:g} s, its limit")
            if output.stat().st_size > LARGEST_OUTPUT:
                raise Overrun(f"ended because it printed more than {LARGEST_OUTPUT // 1_000_000} MB")
            await asyncio.wait({ended}, timeout=min(left, 0.5))
        return ended.result()
    finally:
        ended.cancel()


async def kill(name: str, value: str, group: int | None = None) -> None:
    """End every process that carries the mark, and the group: SIGTERM, then SIGKILL."""
    deadline = time.monotonic()
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, UNKILLABLE)):
        deadline += patience
        _signal(name, value, group, number)
        while marked(name, value) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            if number is signal.SIGKILL:  # what was forked meanwhile
                _signal(name, value, group, number)
    if left := marked(name, value):
        logger.error("processes %s do not end, not even by SIGKILL", left)


def marked(name: str, value: str) -> list[int]:
    """Ids of the living processes that were started with this variable in their environment."""
    wanted = f"{name}={value}".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # Another user's process, or one that ended while we looked: not ours to end.
            with suppress(PermissionError, FileNotFoundError, ProcessLookupError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def _signal(name: str, value: str, group: int | None, number: signal.Signals) -> None:
    if group is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for pid in marked(name, value):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
