"""Getting a repository, and the knowledge that it keeps for agents."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field

from nightshift.errors import ModelRetry
from nightshift.models import Model
from worker.prompt import knowledge
from worker.tools import text
from worker.tools.base import tool
from worker.tools.workbench import Workbench

SECONDS = 900
REPOSITORY = r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$"


class Clone(Model):
    repository: str = Field(pattern=REPOSITORY, description="owner/name")


@tool(Clone, repeatable=True)
async def clone(arguments: Clone, bench: Workbench) -> str:
    """Clone a GitHub repository into the workspace, or fetch what is new if it is there. Git is signed in: fetch and
    push work in the shell too. The answer includes what the repository tells agents (AGENTS.md and its like)."""
    folder = local(arguments.repository, bench)
    if (folder / ".git").is_dir():
        await git(bench, "fetch", "--prune", "origin", cwd=folder)
        done = f"Fetched; it was in {folder} already."
    else:
        if folder.exists():
            raise ModelRetry(f"{folder} exists and is no clone. Move it out of the way first.")
        url = f"{bench.config.github_host}/{arguments.repository}.git"
        draft = folder.with_name(f".{folder.name}.clone")  # moved when it is whole: a restart may cut it short
        if draft.exists():
            shutil.rmtree(draft)
        await git(bench, "clone", url, str(draft), cwd=bench.workspace)
        draft.rename(folder)
        done = f"Cloned into {folder}."
    status = await git(bench, "status", "--short", "--branch", cwd=folder)
    recent = await git(bench, "log", "--oneline", "-5", cwd=folder) if _has_commits(folder) else "no commit yet"
    return f"{done}\n\n{status}\n\nLast commits:\n{recent}\n{knowledge(folder)}"


def local(repository: str, bench: Workbench) -> Path:
    return bench.workspace / repository.split("/")[1]


async def git(bench: Workbench, *arguments: str, cwd: Path) -> str:
    """What git printed, stripped. Raises ModelRetry with it if git fails."""
    code = await bench.run("git", *arguments, cwd=cwd, seconds=SECONDS)
    printed = text.read(bench.output_file()).strip()
    if code != 0:
        raise ModelRetry(f"git {arguments[0]} failed ({code}): {printed}")
    return printed


def _has_commits(folder: Path) -> bool:
    return any((folder / ".git" / "refs" / "remotes").rglob("*")) or (folder / ".git" / "packed-refs").exists()
