"""What the forge itself writes to a repository; everything else is pushed."""

import shutil
import tempfile
from pathlib import Path

from demo.forge.git import Git, Heads

CONFIGURATION = {
    "http.receivepack": "true",
    "uploadpack.allowFilter": "true",  # partial clones
    # Housekeeping in the background would outlive the push, and the forge.
    "gc.auto": "0",
    "receive.autogc": "false",
    "maintenance.auto": "false",
    # Many sessions push at once: wait for a lock rather than fail.
    "core.filesRefLockTimeout": "10000",
    "core.packedRefsTimeout": "10000",
}


async def create(git: Git) -> None:
    shutil.rmtree(git.path, ignore_errors=True)  # left from a creation that was never recorded
    git.path.mkdir(parents=True)
    await git.text("init", "--quiet", "--bare", "--initial-branch=main", "--template=")
    for key, value in CONFIGURATION.items():
        await git.text("config", key, value)


async def commit_folder(git: Git, source: Path, branch: str, login: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        worktree = ["-C", str(source), "--work-tree=."]
        await git.text(*worktree, "add", "--all", ".", extra=index)
        tree = (await git.text("write-tree", extra=index)).strip()
    return await _commit(git, branch, None, tree, [], "First commit", login)


async def merge(git: Git, branch: str, heads: Heads, source: Git, message: str, login: str) -> str:
    """Merges a commit of `source` into `branch`, which must still be at `heads.base`. Returns the new commit."""
    if source.path != git.path:
        await git.text("fetch", "--quiet", "--no-write-fetch-head", str(source.path), heads.head)
    tree = (await git.text("merge-tree", "--write-tree", heads.base, heads.head)).strip()
    return await _commit(git, branch, heads.base, tree, [heads.base, heads.head], message, login)


async def _commit(
    git: Git, branch: str, before: str | None, tree: str, parents: list[str], message: str, login: str
) -> str:
    identity = {"NAME": login, "EMAIL": f"{login}@forge.invalid"}
    people = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in identity.items()}
    options = [option for parent in parents for option in ("-p", parent)]
    sha = (await git.text("commit-tree", tree, *options, "-m", message.strip(), extra=people)).strip()
    await git.text("update-ref", f"refs/heads/{branch}", sha, before or "0" * 40)
    return sha
