"""Getting a repository, and pushing a branch of it: to itself, or to a fork where one may not."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from nightshift.errors import ModelRetry
from nightshift.models import Model
from worker.process import Overrun
from worker.tools import nearby, text
from worker.tools.base import tool
from worker.tools.github import NAME, on_github
from worker.tools.workbench import Workbench

if TYPE_CHECKING:
    from github.Repository import Repository

logger = logging.getLogger(__name__)

SECONDS = 900
UNLOCK_SECONDS = 30
LARGE = 500_000
"""KiB, as GitHub says, from which on old file contents are fetched only when they are looked at."""
CLONE = """\
set -e
mkdir -p "${0%/*}"
draft="${0%/*}/.${0##*/}.clone"
rm -rf "$draft"
git clone "$@" "$draft"
mv -T "$draft" "$0"
"""
"""Into $0, moved there when it is whole: a restart may cut it short."""
LOCKS = ("-type", "f", "-name", "*.lock", "-delete")
UNLOCK = ("find", ".", "-maxdepth", "3", "-name", ".git", "-prune", "-exec", "find", "{}", *LOCKS, ";")
FORK = "fork"
"""The remote of that name is the fork that is pushed to."""
FORK_SECONDS = 180
"""How long a new fork may take to appear. GitHub speaks of up to five minutes; most take seconds."""


async def unlock(bench: Workbench) -> None:
    """Remove what git, killed in the middle of a change, left locked. Only while no git runs: when a worker begins."""
    if any(bench.workspace.iterdir()):
        aside = bench.for_call(0, "", "unlock")
        try:
            if await aside.run(*UNLOCK, cwd=bench.workspace, seconds=UNLOCK_SECONDS):
                logger.warning("git's locks: %s", text.read(aside.output_file()))
        except Overrun as fault:  # the model reads of a lock that is left, and how to remove it
            logger.warning("git's locks were not looked for to the end: %s", fault)
        bench.outputs.remove(aside.output_file().name)


class Clone(Model):
    repository: str = Field(pattern=NAME, description="owner/name")


@tool(Clone, repeatable=True)
async def clone(arguments: Clone, bench: Workbench) -> str:
    """Clone a GitHub repository into the workspace, or fetch what is new if it is there. Git is signed in: fetch and
    push work in the shell too. The answer includes what the repository tells agents (AGENTS.md and its like)."""
    folder = local(arguments.repository, bench)
    large, default = await on_github(
        arguments.repository, bench, lambda found: (found.size >= LARGE, found.default_branch)
    )
    if (folder / ".git").is_dir():
        await git(bench, "fetch", "--prune", "origin", cwd=folder)
        done = f"Fetched; it was in {folder} already."
    else:
        if folder.exists():
            raise ModelRetry(f"{folder} exists and is no clone. Move it out of the way first.")
        options = ["--filter=blob:none"] if large else []
        clone = ["sh", "-c", CLONE, str(folder), *options, _url(arguments.repository, bench)]
        await _run(bench, *clone, cwd=bench.workspace)
        done = f"Cloned into {folder}."
        done += " It is large: contents of older versions are fetched when you look at them." if large else ""
    status = await git(bench, "status", "--short", "--branch", cwd=folder)
    recent = await git(bench, "log", "--oneline", "-5", cwd=folder) if _has_commits(folder) else "no commit yet"
    told = await nearby.knowledge_of(folder, bench)
    return f"{done} The default branch is {default}.\n\n{status}\n\nLast commits:\n{recent}\n{told}"


def local(repository: str, bench: Workbench) -> Path:
    """Where a repository is cloned to: one of each name and owner has its place."""
    return bench.workspace / repository


async def git(bench: Workbench, *arguments: str, cwd: Path) -> str:
    """What git printed, stripped. Raises ModelRetry with it if git fails."""
    return await _run(bench, "git", *arguments, cwd=cwd)


async def _run(bench: Workbench, *argv: str, cwd: Path) -> str:
    code = await bench.run(*argv, cwd=cwd, seconds=SECONDS)
    printed = text.read(bench.output_file()).strip()
    if code != 0:
        raise ModelRetry(f"{'git clone' if argv[0] == 'sh' else ' '.join(argv[:2])} failed ({code}): {printed}")
    return printed


async def push(repository: str, branch: str, bench: Workbench) -> str:
    """Push the branch under its own name, never by force, and return the owner of where it is now.

    The user's repository is tried first; if GitHub says that this token may not write there, nothing has been written,
    and the branch goes to a fork. Raises ModelRetry.
    """
    folder = local(repository, bench)
    refspec = f"refs/heads/{branch}:refs/heads/{branch}"
    try:
        if not await bench.git("remote", "get-url", FORK, cwd=folder):
            await git(bench, "push", "--set-upstream", "origin", refspec, cwd=folder)
            return repository.split("/")[0]
    except ModelRetry as fault:
        if not re.search(r"returned error: 403|Permission to .* denied|Write access .* not granted", str(fault)):
            raise _explained(fault, branch) from fault
        name = await _fork(repository, bench)
        await git(bench, "remote", "add", FORK, _url(name, bench), cwd=folder)
    try:
        await git(bench, "push", "--set-upstream", FORK, refspec, cwd=folder)
    except ModelRetry as fault:
        raise _explained(fault, branch) from fault
    url = (await bench.git("remote", "get-url", FORK, cwd=folder)).decode()
    return url.split("/")[-2]


async def _fork(repository: str, bench: Workbench) -> str:
    """owner/name of the token's own fork, once it is there. Asking again gives the same one."""
    name = await on_github(repository, bench, lambda found: found.create_fork().full_name)

    def is_there(found: Repository) -> bool:
        """GitHub answers for a fork before its branches have been copied."""
        from github import GithubException

        try:
            return bool(found.get_branch(found.default_branch))
        except GithubException as fault:
            if fault.status == 404:
                return False
            raise

    pause, left = 1.0, float(FORK_SECONDS)
    while left > 0:
        try:
            if await on_github(name, bench, is_there):
                return name
        except ModelRetry as fault:
            if "answered 404" not in str(fault):
                raise
        await asyncio.sleep(pause)
        left, pause = left - pause, min(pause * 1.5, 10)
    raise ModelRetry(f"{name}, the fork of {repository}, is not ready after {FORK_SECONDS} s. Try again later.")


def _explained(fault: ModelRetry, branch: str) -> ModelRetry:
    if "rejected" not in str(fault):
        return fault
    return ModelRetry(
        f"{fault}\n\nThe branch has commits at the other end that yours has not. Take them in with"
        f" `git pull --no-rebase`, resolve what conflicts and try again. Never force {branch}."
    )


def _url(repository: str, bench: Workbench) -> str:
    return f"{bench.config.github_host}/{repository}.git"


def _has_commits(folder: Path) -> bool:
    return any((folder / ".git" / "refs" / "remotes").rglob("*")) or (folder / ".git" / "packed-refs").exists()
