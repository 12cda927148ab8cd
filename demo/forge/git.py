"""Reading (and, for a merge, writing) one bare repository through the `git` command."""

import asyncio
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

# A person's own git configuration must not change what the forge answers.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
}
COMMIT_FORMAT = "%x1f".join(["%H", "%T", "%P", "%an", "%ae", "%aI", "%cn", "%ce", "%cI", "%B"]) + "%x1e"
CHANGE_KINDS = {"A": "added", "D": "removed", "M": "modified", "R": "renamed", "C": "copied", "T": "changed"}


EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class GitError(Exception):
    """git ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Ref:
    name: str
    kind: str
    sha: str


@dataclass(frozen=True)
class Person:
    name: str
    email: str
    date: str


@dataclass(frozen=True)
class Commit:
    sha: str
    tree: str
    parents: list[str]
    author: Person
    committer: Person
    message: str


@dataclass(frozen=True)
class Change:
    """One file of a diff; `patch` is None for binary files."""

    status: str
    path: str
    previous_path: str | None
    blob: str
    additions: int
    deletions: int
    patch: str | None


@dataclass(frozen=True)
class Entry:
    mode: str
    kind: str
    sha: str
    size: int
    path: str


@dataclass(frozen=True)
class Heads:
    """The tips of a pull request's two branches."""

    head: str
    base: str


@dataclass(frozen=True)
class Git:
    path: Path
    borrowed: list[Path] = field(default_factory=list[Path])  # repositories whose objects may be read too (forks)

    def borrowing(self, other: "Git") -> "Git":
        return self if other.path == self.path else replace(self, borrowed=[*self.borrowed, other.path])

    async def output(
        self, *arguments: str, also_fine: tuple[int, ...] = (), extra: dict[str, str] | None = None
    ) -> bytes:
        """What `git` prints. `extra` adds to its environment. Raises GitError."""
        borrowed = os.pathsep.join(str(path / "objects") for path in self.borrowed)
        process = await asyncio.create_subprocess_exec(
            *("git", f"--git-dir={self.path}", "-c", "core.quotePath=false", *arguments),
            env=ENVIRONMENT | {"GIT_ALTERNATE_OBJECT_DIRECTORIES": borrowed} | (extra or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            printed, errors = await process.communicate()
        finally:
            if process.returncode is None:  # cancelled: the forge stops
                process.kill()
                await process.wait()
        if process.returncode not in (0, *also_fine):
            raise GitError(f"git {arguments[0]}: {errors.decode(errors='replace').strip()}")
        return printed

    async def text(self, *arguments: str, also_fine: tuple[int, ...] = (), extra: dict[str, str] | None = None) -> str:
        return (await self.output(*arguments, also_fine=also_fine, extra=extra)).decode(errors="replace")

    async def resolve(self, revision: str) -> str | None:
        """The commit that a branch, tag, full ref or (short) sha names."""
        wanted = f"{revision}^{{commit}}"
        found = await self.text("rev-parse", "--verify", "--quiet", "--end-of-options", wanted, also_fine=(1, 128))
        return found.strip() or None

    async def refs(self, prefix: str) -> list[Ref]:
        listing = await self.text("for-each-ref", "--format=%(refname) %(objecttype) %(objectname)")
        refs = [Ref(*line.split(" ")) for line in listing.splitlines()]
        return [ref for ref in refs if ref.name.startswith(prefix)]

    async def commits(self, *revisions: str, path: str | None = None, limit: int = 1000) -> list[Commit]:
        """Newest first. `revisions` are shas, each perhaps with a leading ^ for what to leave out."""
        paths = ["--", path] if path else ["--"]
        log = await self.text("log", f"--format={COMMIT_FORMAT}", f"--max-count={limit}", *revisions, *paths)
        return [_commit(record.lstrip("\n")) for record in log.split("\x1e") if record.strip()]

    async def merge_base(self, one: str, other: str) -> str | None:
        return (await self.text("merge-base", one, other, also_fine=(1,))).strip() or None

    async def ahead_behind(self, base: str, head: str) -> tuple[int, int]:
        behind, ahead = (await self.text("rev-list", "--left-right", "--count", f"{base}...{head}")).split()
        return int(ahead), int(behind)

    async def mergeable(self, base: str, head: str) -> bool:
        """By git's own merge, whose objects go nowhere that matters."""
        outcome = await self.text("merge-tree", "--write-tree", base, head, also_fine=(1,))
        return len(outcome.splitlines()) == 1  # a conflict adds lines below the tree

    async def changes(self, base: str, head: str) -> list[Change]:
        """What `head` has that `base` has not; pass the merge base for what a pull request shows."""
        raw, counts, patches = await asyncio.gather(
            self.text("diff", "-M", "--raw", "--no-abbrev", "-z", base, head),
            self.text("diff", "-M", "--numstat", "-z", base, head),
            self.text("diff", "-M", "--full-index", base, head),
        )
        return _changes(raw, counts, patches)

    async def entries(self, tree: str, path: str) -> list[Entry]:
        """The entry at `path`, or with a trailing slash (or an empty path) what the folder holds."""
        listing = await self.text("ls-tree", "-z", "--long", tree, *(["--", f":(literal){path}"] if path else []))
        return [_entry(line) for line in listing.split("\0") if line]

    async def blob(self, sha: str) -> bytes:
        return await self.output("cat-file", "blob", sha)


def _commit(record: str) -> Commit:
    sha, tree, parents, *people, message = record.split("\x1f")
    author, committer = Person(*people[:3]), Person(*people[3:])
    return Commit(sha, tree, parents.split(), author, committer, message.rstrip("\n"))


def _entry(line: str) -> Entry:
    meta, path = line.split("\t", 1)
    mode, kind, sha, size = meta.split()
    return Entry(mode, kind, sha, 0 if size == "-" else int(size), path)


def _changes(raw: str, counts: str, patches: str) -> list[Change]:
    bodies = re.split(r"^diff --git .*\n", patches, flags=re.MULTILINE)[1:]
    fields, numbers = iter(raw.split("\0")), iter(counts.split("\0"))
    changes: list[Change] = []
    for meta in fields:
        if not meta:
            break
        _, _, old_blob, new_blob, letter = meta.split(" ")
        previous = next(fields) if letter[0] in "RC" else None
        path = next(fields)
        added, deleted, _ = next(numbers).split("\t")
        if previous is not None:  # a rename's count is followed by both names
            next(numbers)
            next(numbers)
        changes.append(
            Change(
                status=CHANGE_KINDS[letter[0]],
                path=path,
                previous_path=previous,
                blob=old_blob if letter == "D" else new_blob,
                additions=0 if added == "-" else int(added),
                deletions=0 if deleted == "-" else int(deleted),
                patch=_hunks(bodies[len(changes)]) if len(changes) < len(bodies) else None,
            )
        )
    return changes


def _hunks(body: str) -> str | None:
    start = re.search(r"^@@ ", body, flags=re.MULTILINE)
    return body[start.start() :].rstrip("\n") if start else None
