"""The shell: one bash per call; folder and exported variables live on in a file between calls."""

from __future__ import annotations

import os

from pydantic import Field

from nightshift.models import Model
from worker import process
from worker.tools import text
from worker.tools.base import Output, tool
from worker.tools.workbench import Workbench

DEFAULT_SECONDS = 120
LONGEST_SECONDS = 1800

FIRST = 'PATH="$NIGHTSHIFT_PATH:$PATH"; unset NIGHTSHIFT_PATH; '
"""A login shell's profile may reset PATH: the machine's own comes first all the same."""
EVERY = """trap '{ printf "%s\\0" "$PWD"; /usr/bin/env -0; } > "$0.new" && mv "$0.new" "$0"' EXIT; . "$1" """
"""$0 is the state's file, $1 the command's: a command may be longer than an argument of a process."""


class Shell(Model):
    command: str = Field(min_length=1, description="A bash script; it may have many lines.")
    timeout_seconds: int | None = Field(
        default=None,
        ge=1,
        le=LONGEST_SECONDS,
        description=f"After this the command and all its children are ended. Null: {DEFAULT_SECONDS}.",
    )


@tool(Shell)
async def shell(arguments: Shell, bench: Workbench) -> Output:
    """Run a bash command on your machine. The working folder and exported variables are kept for the next call.
    stdin is empty, so nothing can be asked. stdout and stderr come together; long output is cut in the middle and kept
    whole in a file. Start a server with `&`: it goes on after the call."""
    script = bench.output_file().with_suffix(".sh")
    script.write_text(arguments.command + "\n", errors="surrogateescape")
    environment, start = bench.environment, [FIRST + EVERY]
    argv = ["bash", "-lc"]
    if bench.shell_state.exists():
        kept = [entry.partition("=") for entry in os.fsdecode(bench.shell_state.read_bytes()).split("\0")[1:] if entry]
        environment = {name: value for name, _, value in kept} | _fixed(bench)
        argv, start = ["bash", "-c"], [EVERY]
    else:
        environment = environment | {"NIGHTSHIFT_PATH": environment.get("PATH", os.defpath)}
    note = ""
    try:
        code = await bench.run(
            *argv,
            *start,
            str(bench.shell_state),
            str(script),
            cwd=bench.cwd(),
            seconds=arguments.timeout_seconds or DEFAULT_SECONDS,
            environment=environment,
        )
        note = f"[exit code {code}; in {bench.cwd()}]"
    except process.Overrun as fault:
        code, note = -1, f"[{fault}, with all its children]"
    finally:
        script.unlink(missing_ok=True)
    printed = text.read(bench.output_file())
    return Output(
        f"{printed}\n{note}" if printed and not printed.endswith("\n") else printed + note, is_error=code != 0
    )


def _fixed(bench: Workbench) -> dict[str, str]:
    """What a command cannot change for the next one: who git is, whom it asks, and the marks of processes."""
    return {name: value for name, value in bench.environment.items() if name.startswith(("GIT_", "NIGHTSHIFT_"))}
