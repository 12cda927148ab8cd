"""Looking after processes that go on between calls; the shell starts them."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from nightshift.errors import ModelRetry
from nightshift.models import Model
from worker.background import Job
from worker.tools import text
from worker.tools.base import tool
from worker.tools.workbench import Workbench

LONGEST_WAIT = 600


class Background(Model):
    action: Literal["list", "output", "input", "stop"] = Field(
        description="output: what it printed since you last looked; input: write to its stdin; stop: end it."
    )
    id: str | None = Field(default=None, description="Such as bg1. Null for list.")
    text: str | None = Field(
        default=None, max_length=50_000, description="For input; end a line with \\n. Null: close its stdin."
    )
    wait_seconds: int | None = Field(
        default=None,
        ge=0,
        le=LONGEST_WAIT,
        description="For output and input: how long to wait for it to print something or to end. Null: 1.",
    )
    offset: int | None = Field(
        default=None, ge=0, description="For output: from this byte of its output on. Null: from where you stopped."
    )


@tool(Background)
async def background(arguments: Background, bench: Workbench) -> str:
    """Look after the processes that you started in the background: list them, read what they print, answer what they
    ask, stop them. They end when the user interrupts you or the machine stops."""
    if arguments.action == "list":
        return bench.background.describe()
    job = bench.background.job(arguments.id)
    wait = 1 if arguments.wait_seconds is None else arguments.wait_seconds
    if arguments.action == "stop":
        before = job.ended
        await bench.background.stop(job, "was stopped by you")
        return f"{new_output(job, bench)}[{job.id} {before or job.state}]"
    if arguments.action == "input":
        if job.ended:
            raise ModelRetry(f"{job.id} {job.ended}.")
        if arguments.text is None:
            job.process.close_input()
        else:
            job.process.send(arguments.text.encode())
    if arguments.action == "input" or job.process.capture.printed <= job.seen:
        await bench.background.wait(job, wait)
    if arguments.offset is not None:
        job.read = arguments.offset
    start, printed = job.read, new_output(job, bench)
    return f"{printed}[{job.id} {job.state}; bytes {start} to {job.read} of its output]"


def new_output(job: Job, bench: Workbench) -> str:
    """What it printed since the last look, on lines of its own."""
    job.process.capture.settle()
    job.seen = job.process.capture.printed
    path = bench.outputs.path / job.file
    printed = text.read(path, job.read)
    job.read = max(job.read, os.stat(path, follow_symlinks=False).st_size)
    return f"{printed}\n" if printed and not printed.endswith("\n") else printed
