"""Looking at files, creating and editing them."""

from __future__ import annotations

import difflib
from pathlib import Path

from pydantic import Field

from nightshift.errors import ModelRetry
from nightshift.models import Model
from worker.tools import disk, kinds, text
from worker.tools.base import Output, tool
from worker.tools.disk import Content
from worker.tools.near import replaced
from worker.tools.workbench import Workbench

MOST_LINES = 1000
MOST_ENTRIES = 400
LONGEST_LINE = 2000
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
    old: str = Field(description="Exact text of the file, with enough lines around it to occur only once.")
    new: str = Field(description="What stands there afterwards.")
    replace_all: bool = Field(default=False, description="Replace it wherever it occurs.")


class Insert(Model):
    path: str = Field(description=PATH)
    after_line: int = Field(ge=0, description="0: before the first line.")
    text: str = Field(min_length=1, description="Whole lines.")


class Undo(Model):
    path: str = Field(description=PATH)


@tool(View, repeatable=True, reads=True)
async def view(arguments: View, bench: Workbench) -> Output | str:
    """Show a text file with line numbers, an image, or what is in a folder (two levels, without what git ignores)."""
    path = bench.path(arguments.path)
    content = await disk.read(bench, path, LARGEST)
    if content is None:
        request = {"do": "tree", "path": str(path), "most": MOST_ENTRIES}
        answer, _ = await disk.inside(bench, "walk", request)
        more = [f"[{answer['left']} more: view a folder of it, or use find_files]"] if answer["left"] else []
        return text.cut("\n".join(answer["lines"] + more), "view a folder of it") or "[an empty folder]"
    if image := kinds.image(content.data):
        file = await bench.upload(path.name, image, content.data)
        return Output(f"[{path}: {image}, {len(content.data)} bytes]", files=[file])
    if kind := kinds.binary(content.data):
        raise ModelRetry(f"{path} is {kind}")
    return _numbered(path, _lines(content.data.decode(errors="replace")), arguments)


@tool(Create)
async def create(arguments: Create, bench: Workbench) -> str:
    """Write a new file; folders on the way to it are made."""
    path = bench.path(arguments.path)
    await disk.write(bench, path, arguments.text.encode(), overwrite=arguments.overwrite)
    return f"Wrote {path}: {len(_lines(arguments.text))} lines."


@tool(Edit)
async def edit(arguments: Edit, bench: Workbench) -> str:
    """Replace one exact piece of a file, or with replace_all every such piece. Line endings stay as the file has them.
    The answer shows what changed."""
    path = bench.path(arguments.path)
    content, before = await _text(bench, path)
    after = replaced(before, arguments.old, arguments.new, str(path), everywhere=arguments.replace_all)
    return await _changed(bench, path, content, before, after)


@tool(Insert)
async def insert(arguments: Insert, bench: Workbench) -> str:
    """Put lines into a file after a line that is named by its number."""
    path = bench.path(arguments.path)
    content, before = await _text(bench, path)
    end = "\r\n" if "\r\n" in before else "\n"
    *whole, last = before.split("\n")
    lines = [f"{line}\n" for line in whole] + ([last] if last else [])
    if arguments.after_line > len(lines):
        raise ModelRetry(f"{path} has {len(lines)} lines: there is none with the number {arguments.after_line}.")
    head = lines[: arguments.after_line]
    if head and not head[-1].endswith("\n"):
        head[-1] += end
    new = arguments.text.replace("\r\n", "\n").removesuffix("\n").replace("\n", end) + end
    after = "".join([*head, new, *lines[arguments.after_line :]])
    return await _changed(bench, path, content, before, after)


@tool(Undo)
async def undo(arguments: Undo, bench: Workbench) -> str:
    """Take back the last change that edit, insert or create made to a file, if nothing else changed it since."""
    path = bench.path(arguments.path)
    was, now = await disk.undo(bench, path)
    if now is None:
        return f"{path} is gone, as it was before."
    return _diff(was.decode(errors="replace"), now.decode(errors="replace"), path)


async def _text(bench: Workbench, path: Path) -> tuple[Content, str]:
    """The text as it stands. Bytes that are no UTF-8 survive a change elsewhere in the file. Raises ModelRetry."""
    content = await disk.read(bench, path, LARGEST)
    if content is None:
        raise ModelRetry(f"{path} is a folder.")
    if kind := kinds.binary(content.data):
        raise ModelRetry(f"{path} is {kind}")
    return content, content.data.decode(errors="surrogateescape")


async def _changed(bench: Workbench, path: Path, content: Content, before: str, after: str) -> str:
    await disk.write(bench, path, after.encode(errors="surrogateescape"), expected=content.sha)
    return _diff(before, after, path)


def _lines(content: str) -> list[str]:
    """As editors and compilers count them: a form feed or U+2028 ends none."""
    return [line.removesuffix("\r") for line in content.removesuffix("\n").split("\n")] if content else []


def _numbered(path: Path, lines: list[str], arguments: View) -> str:
    first = arguments.first_line or 1
    last = min(arguments.last_line or first + MOST_LINES - 1, len(lines))
    if not lines:
        return "[an empty file]"
    if first > last:
        raise ModelRetry(f"{path} has {len(lines)} lines: there is none from {first} to {arguments.last_line}.")
    shown = "\n".join(f"{number:6}\t{_short(lines[number - 1])}" for number in range(first, last + 1))
    rest = f"\n[lines {first} to {last} of {len(lines)}]" if (first, last) != (1, len(lines)) else ""
    return text.cut(shown, "ask for fewer lines") + rest


def _short(line: str) -> str:
    left = len(line) - LONGEST_LINE
    return line if left <= 0 else f"{line[:LONGEST_LINE]} [... {left} more characters in this line ...]"


def _diff(before: str, after: str, path: Path) -> str:
    lines = difflib.unified_diff(_lines(before), _lines(after), str(path), str(path), lineterm="", n=2)
    diff = "\n".join(lines).encode(errors="replace").decode()
    return text.cut(diff, "view the file", 5000) or f"{path} differs in line endings only."
