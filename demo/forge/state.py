"""The records on disk: one JSON file, replaced whole at every change, so that a reader never sees half of one."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from demo.forge import writing
from demo.forge.git import Git
from demo.forge.records import Issue, Pull, Records, Repository, Scopes, Token, now


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class State:
    """All changes happen on one event loop and without an await inside `change`: each is atomic for everybody."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._file = self.root / "forge.json"
        self._creating = asyncio.Lock()
        self.slow_forks = 0
        """So many requests about a new fork find nothing yet."""
        root.mkdir(parents=True, exist_ok=True)
        self.records = Records.model_validate_json(self._file.read_bytes()) if self._file.exists() else Records()

    @contextmanager
    def change(self) -> Generator[Records]:
        yield self.records
        fresh = self._file.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(self.records.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._file)

    def git(self, full_name: str) -> Git:
        return Git(self.root / "repositories" / f"{full_name}.git")

    def add_token(
        self, login: str, scopes: Scopes, repositories: list[str] | None, expires_at: datetime | None = None
    ) -> str:
        token = f"forge_{secrets.token_urlsafe(30)}"
        key = digest(token)
        made = Token(digest=key, login=login, scopes=scopes, repositories=repositories, expires_at=expires_at)
        with self.change() as records:
            records.tokens[key] = made
        return token

    def token(self, token: str) -> Token | None:
        found = self.records.tokens.get(digest(token))
        return None if found is None or (found.expires_at and found.expires_at <= now()) else found

    async def create_repository(
        self, full_name: str, source: Path | None = None, fork_of: Repository | None = None
    ) -> Repository:
        """With the files of `source` as first commit, or all of another repository, or empty."""
        owner, _, name = full_name.partition("/")
        async with self._creating:
            if full_name in self.records.repositories:
                return self.records.repositories[full_name]
            git = self.git(full_name)
            await writing.create(git)
            if source is not None:
                await writing.commit_folder(git, source, "main", owner)
            if fork_of is not None:
                await git.text("fetch", "--quiet", str(self.git(fork_of.full_name).path), "refs/heads/*:refs/heads/*")
            with self.change() as records:
                repository = Repository(id=records.new_id(), owner=owner, name=name)
                repository.fork_of = fork_of.full_name if fork_of else None
                records.repositories[full_name] = repository
        return repository

    def add_issue(
        self,
        repository: Repository,
        author: str,
        title: str,
        body: str | None,
        labels: list[str] | None = None,
        pull: Pull | None = None,
    ) -> Issue:
        with self.change() as records:
            repository.last_number += 1
            issue = Issue(
                id=records.new_id(),
                repository=repository.full_name,
                number=repository.last_number,
                author=author,
                association=repository.association(author),
                title=title,
                body=body,
                labels=labels or [],
                pull=pull,
            )
            records.issues.append(issue)
        return issue

    def issues(self, full_name: str) -> list[Issue]:
        """Newest first, pull requests among them."""
        return [issue for issue in reversed(self.records.issues) if issue.repository == full_name]

    def set_state(self, issue: Issue, state: str, reason: str | None = None) -> None:
        """To be called inside `change`."""
        if state == "closed" and issue.state == "open":
            issue.state, issue.state_reason, issue.closed_at = "closed", reason or "completed", now()
        elif state == "open" and issue.state == "closed":
            issue.state, issue.state_reason, issue.closed_at = "open", "reopened", None

    async def pushed(self, full_name: str) -> None:
        """To be awaited after every change of refs."""
        self.records.repositories[full_name].pushed_at = now()
        await self.refresh(full_name)

    async def refresh(self, full_name: str) -> None:
        """Notes the heads of open pull requests from this repository, and closes those whose branch is gone."""
        tips = {ref.name: ref.sha for ref in await self.git(full_name).refs("refs/heads/")}
        with self.change() as records:
            for issue in records.issues:
                if issue.pull is None or issue.state == "closed" or issue.pull.head_repository != full_name:
                    continue
                tip = tips.get(f"refs/heads/{issue.pull.head_ref}")
                if tip is None:
                    self.set_state(issue, "closed")
                elif tip != issue.pull.head_sha:
                    issue.pull.head_sha, issue.updated_at = tip, now()
