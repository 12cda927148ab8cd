"""Looking at files, creating and editing them."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path

from pydantic import Field

from nightshift.errors import ModelRetry
from nightshift.models import Model
from worker.tools import text
from worker.tools.base import tool
from worker.tools.workbench import Workbench

MOST_LINES = 1000
MOST_ENTRIES = 300
LARGEST = 10_000_000
PATH = "Absolute, or relative to the shell's current folder."


class View(Model):
    path: str = Field(description=PATH)
    first_line: int | None = Field(default=None, ge=1, description="Null: from the beginning.")
    last_line: int | None = Field(default=None, ge=1, description=f"Null: {MOST_LINES} lines.")


class Create(Model):
    path: str = Field(description=PATH)
    text: str
    overwrite: bool = Field(default=False, description="Replace a file that exists.")


class Edit(Model):
    path: str = Field(description=PATH)
    old: str = Field(description="Exact text that occurs once in the file, with enough lines around it to be unique.")
    new: str = Field(description="What stands there afterwards.")


@tool(View, repeatable=True)
async def view(arguments: View, bench: Workbench) -> str:
    """Show a file with line numbers, or what is in a folder."""
    path = bench.path(arguments.path)
    if path.is_dir():
        entries = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
        more = [f"[... {len(entries) - MOST_ENTRIES} more ...]"] if len(entries) > MOST_ENTRIES else []
        return "\n".join(entries[:MOST_ENTRIES] + more) or "[an empty folder]"
    lines = _read(path).splitlines()
    first = arguments.first_line or 1
    last = min(arguments.last_line or first + MOST_LINES - 1, len(lines))
    if not lines:
        return "[an empty file]"
    if first > last:
        raise ModelRetry(f"{path} has {len(lines)} lines: there is none from {first} to {arguments.last_line}.")
    shown = "\n".join(f"{number:6}\t{lines[number - 1]}" for number in range(first, last + 1))
    rest = f"\n[lines {first} to {last} of {len(lines)}]" if (first, last) != (1, len(lines)) else ""
    return text.cut(shown, "ask for fewer lines") + rest


@tool(Create)
async def create(arguments: Create, bench: Workbench) -> str:
    """Write a new file; folders on the way to it are made."""
    path = bench.path(arguments.path)
    if path.is_dir():
        raise ModelRetry(f"{path} is a folder.")
    if path.exists() and not arguments.overwrite:
        raise ModelRetry(f"{path} exists. Use edit, or say overwrite.")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, arguments.text)
    return f"Wrote {path}: {len(arguments.text.splitlines())} lines."


@tool(Edit)
async def edit(arguments: Edit, bench: Workbench) -> str:
    """Replace one exact piece of a file. It must occur exactly once. Line endings stay as the file has them."""
    path = bench.path(arguments.path)
    before = _read(path)
    old, new = arguments.old, arguments.new
    if "\r\n" in before and "\n" not in before.replace("\r\n", ""):
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    if not old:
        raise ModelRetry("`old` is empty. To write a whole file use create.")
    if old == new:
        raise ModelRetry("`old` and `new` are the same.")
    count = before.count(old)
    if count == 0:
        raise ModelRetry(f"`old` does not occur in {path}.{_near(old, before)}")
    if count > 1:
        raise ModelRetry(f"`old` occurs {count} times in {path} ({_places(old, before)}): give more lines around it.")
    after = before.replace(old, new)
    _write(path, after)
    return _diff(before, after, path)


def _read(path: Path) -> str:
    """Raises ModelRetry for what is not text. Line endings are kept."""
    if not path.is_file():
        raise ModelRetry(f"There is no file {path}.")
    if path.stat().st_size > LARGEST:
        raise ModelRetry(f"{path} is larger than {LARGEST // 1_000_000} MB. Use the shell.")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ModelRetry(f"{path} is not UTF-8 text. Use the shell.") from None


def _write(path: Path, content: str) -> None:
    """All or nothing, with the mode the file had; a symbolic link stays one."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.")
    try:
        with open(handle, "wb") as file:
            file.write(content.encode(errors="surrogatepass"))
            os.fchmod(file.fileno(), mode)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    """Linux tells it without changing it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), 8)


def _places(old: str, content: str) -> str:
    lines: list[str] = []
    start = content.find(old)
    while start >= 0 and len(lines) < 10:
        lines.append(str(content.count("\n", 0, start) + 1))
        start = content.find(old, start + len(old))
    return "line " + ", ".join(lines)


def _near(old: str, content: str) -> str:
    """The lines of the file that look most like the longest line that was looked for."""
    wanted = max((line.strip() for line in old.splitlines()), key=len, default="")[:500]
    lines = content.splitlines()[:20_000]
    stripped = [line.strip()[:500] for line in lines]
    close = difflib.get_close_matches(wanted, set(stripped), n=3, cutoff=0.6) if wanted else []
    numbers = [number for number, line in enumerate(stripped) if line in close][:5]
    if not numbers:
        return " Nothing in it looks alike; view the file."
    return " These lines look alike:\n" + "\n".join(f"{number + 1:6}\t{lines[number][:500]}" for number in numbers)


def _diff(before: str, after: str, path: Path) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=2)
    return text.cut("\n".join(lines), "view the file", 5000)
