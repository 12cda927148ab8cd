"""Files as the tools' processes see them: by programs that run where these run, with their rights and no more."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift.errors import ModelRetry
from worker import process
from worker.inside import program
from worker.sandbox import PYTHON
from worker.tools.workbench import Workbench

SECONDS = 60.0


@dataclass(frozen=True)
class Content:
    """A file as it was read. Writing it back with `sha` fails if somebody else changed it meanwhile."""

    data: bytes
    sha: str


async def read(bench: Workbench, path: Path, most: int) -> Content | None:
    """None for a folder. Raises ModelRetry for what is not there, no plain file, or larger than `most` bytes."""
    answer, data = await inside(bench, "disk", {"do": "read", "path": str(path), "most": most})
    if answer["kind"] == "large":
        size = f"{answer['size'] / 1e6:.1f} MB"
        raise ModelRetry(f"{path} has {size}, which is more than {most // 1_000_000} MB. Use the shell.")
    return Content(data, answer["sha"]) if answer["kind"] == "file" else None


async def write(
    bench: Workbench, path: Path, data: bytes, *, overwrite: bool = True, expected: str | None = None
) -> None:
    """All or nothing; what was there can be undone. Raises ModelRetry."""
    request = {"do": "write", "path": str(path), "overwrite": overwrite, "expected": expected}
    await inside(bench, "disk", request | {"undo": str(bench.undo)}, data)


async def undo(bench: Workbench, path: Path) -> tuple[bytes, bytes | None]:
    """What stood there, and what stands there now: None if nothing. Raises ModelRetry."""
    answer, data = await inside(bench, "disk", {"do": "undo", "path": str(path), "undo": str(bench.undo)})
    return data[: answer["was"]], data[answer["was"] :] if answer["existed"] else None


async def inside(
    bench: Workbench, name: str, request: dict[str, Any], data: bytes = b"", seconds: float = SECONDS
) -> tuple[dict[str, Any], bytes]:
    """The answer of a program of worker/inside. Raises ModelRetry with its `error`, or if it does not come in time."""
    setting = bench.setting(bench.folder)
    argv = [*PYTHON, "-c", program(f"{name}.py")]
    running = None
    try:
        async with asyncio.timeout(seconds):
            running = await asyncio.create_subprocess_exec(
                *setting.sandbox.wrap(argv, setting.cwd),
                cwd="/",
                env={**setting.environment, process.CALL_MARK: setting.mark},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            printed, fault = await running.communicate(json.dumps(request).encode() + b"\n" + data)
    except TimeoutError:
        raise ModelRetry(f"It took more than {seconds:g} s and was ended.") from None
    finally:
        if running is None or running.returncode is None:
            await asyncio.shield(process.kill(setting.sandbox, process.CALL_MARK, setting.mark))
            if running:
                await running.wait()
    head, _, rest = printed.partition(b"\n")
    if not head:
        raise ModelRetry(fault.decode(errors="replace").strip()[-2000:] or f"{name} ended without an answer.")
    answer: dict[str, Any] = json.loads(head)
    if "error" in answer:
        raise ModelRetry(answer["error"])
    return answer, rest
