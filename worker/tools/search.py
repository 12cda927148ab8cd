"""Finding files and text in them, without what git ignores."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from pydantic import Field

from nightshift.models import Model
from worker.tools import disk, text
from worker.tools.base import tool
from worker.tools.workbench import Workbench

MOST_MATCHES = 100
MOST_FILES = 300
WHERE = "A folder or file; absolute, or relative to the shell's current folder. Null: that folder."


class Search(Model):
    pattern: str = Field(min_length=1, max_length=1000, description="A regular expression; it is matched line by line.")
    path: str | None = Field(default=None, description=WHERE)
    glob: str | None = Field(default=None, max_length=200, description="Only in such files, such as *.py. Null: all.")
    literal: bool = Field(default=False, description="The pattern is plain text.")
    ignore_case: bool = False
    context_lines: int = Field(default=0, ge=0, le=10, description="Lines to show before and after each match.")


class FindFiles(Model):
    pattern: str = Field(
        min_length=1, max_length=200, description="Such as *.md (at any depth), src/*.py or src/**/test_*.py."
    )
    path: str | None = Field(default=None, description=WHERE)


@tool(Search, repeatable=True, reads=True)
async def search(arguments: Search, bench: Workbench) -> str:
    """Search files for a regular expression. What git ignores is left out, binary files too."""
    request = arguments.model_dump(exclude={"path", "context_lines"})
    request |= {"do": "search", "context": arguments.context_lines, "most": MOST_MATCHES}
    root = str(bench.path(arguments.path or "."))
    answer, _ = await disk.inside(bench, "walk", request | {"path": root})
    if not answer["matches"]:
        return "[nothing found]"
    blocks = [_block(path, list(lines), root) for path, lines in groupby(answer["lines"], key=lambda line: line[0])]
    count = f"{answer['matches']} matches in {answer['files']} files"
    if answer["left"]:
        count += f"; {answer['left']} of them left out: narrow it by path, glob or pattern"
    return text.cut("\n\n".join(blocks), "narrow the search") + f"\n\n[{count}]"


@tool(FindFiles, repeatable=True, reads=True)
async def find_files(arguments: FindFiles, bench: Workbench) -> str:
    """Find files by their name or path. What git ignores is left out."""
    root = str(bench.path(arguments.path or "."))
    request = {"do": "find", "pattern": arguments.pattern, "path": root, "most": MOST_FILES}
    answer, _ = await disk.inside(bench, "walk", request)
    more = [f"[{answer['left']} more left out: narrow it by path or pattern]"] if answer["left"] else []
    return "\n".join([_relative(path, root) for path in answer["paths"]] + more) or "[nothing found]"


def _block(path: str, lines: list[Any], root: str) -> str:
    shown = [_relative(path, root)]
    before = None
    for _, number, is_match, line in lines:
        if before is not None and number > before + 1 and any(not match for _, _, match, _ in lines):
            shown.append("    --")
        shown.append(f"{number:6}{':' if is_match else '-'} {line}")
        before = number
    return "\n".join(shown)


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root.rstrip("/") + "/")
