"""The shell: one bash per call; folder, exported variables, functions and aliases live on in a file between calls.

Not one bash for all: each call has limits, processes and (in a sandbox) a process namespace of its own, and nothing is
lost when one is killed, worker included. Options such as `set -e` are those of one call: kept, they would end the next.
"""

from __future__ import annotations

from pydantic import Field

from nightshift.models import Model
from worker import asking, process
from worker.tools import text
from worker.tools.background import new_output
from worker.tools.base import Output, tool
from worker.tools.workbench import Workbench

DEFAULT_SECONDS = 120
LONGEST_SECONDS = 1800


class Shell(Model):
    command: str = Field(min_length=1, description="A bash script; it may have many lines.")
    timeout_seconds: int | None = Field(
        default=None,
        ge=1,
        le=LONGEST_SECONDS,
        description=f"After this the command and all its children are ended. Null: {DEFAULT_SECONDS}.",
    )
    background: bool = Field(
        default=False,
        description="Start it and go on: for servers, watchers and what takes longer than you want to wait.",
    )


@tool(Shell)
async def shell(arguments: Shell, bench: Workbench) -> Output:
    """Run a bash command on your machine. Folder, exported variables, functions and aliases are kept for the next call;
    `set` options are not. There is no terminal and stdin is empty, so nothing can be asked. stdout and stderr come
    together; long output is cut in the middle and kept whole in a file. What a command leaves running with `&` is ended
    with it: set `background` for what is to go on, and look after it with the tool `background`."""
    script = bench.output_file().with_suffix(".sh").name
    with bench.outputs.create(script) as file:
        file.write(arguments.command.encode() + b"\n")
    bench.keep_state()
    if arguments.background:
        return await _in_background(bench.bash(script, keep=False), arguments.command, bench)
    asked = False
    try:
        code = await bench.run(
            *bench.bash(script, keep=True),
            cwd=bench.folder,
            seconds=arguments.timeout_seconds or DEFAULT_SECONDS,
        )
        code = 128 - code if code < 0 else code  # ended by a signal
        note = f"[exit code {code}; in {bench.cwd()}]"
        if bench.read_small(bench.jobs):
            note += "\n[What it left running was ended with it. Set `background` for what is to go on.]"
    except process.Overrun as fault:
        code, note, asked = -1, f"[{fault}, with all its children]", isinstance(fault, process.Asked)
    finally:
        bench.outputs.remove(script)
    printed = text.read(bench.output_file())
    if asked or (code > 0 and asking.missed_somebody(printed)):
        note += f"\n[{asking.ADVICE}]"
    if code > 0 and bench.sandbox.limits and (advice := bench.sandbox.limits.advice(printed, code)):
        note += f"\n[{advice}]"
    return Output(_joined(printed, note), is_error=code != 0)


async def _in_background(argv: list[str], command: str, bench: Workbench) -> Output:
    job = await bench.background.start(argv, command, bench.setting(bench.folder))
    printed = new_output(job, bench)
    note = f"[{job.id} {job.state}; its output goes to {bench.outputs.path / job.file}]"
    return Output(_joined(printed, note), is_error=bool(job.ended))


def _joined(printed: str, note: str) -> str:
    return f"{printed}\n{note}" if printed and not printed.endswith("\n") else printed + note
