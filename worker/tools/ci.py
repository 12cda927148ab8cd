"""Waiting for what CI says of a commit, and reading why it failed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import Field

from nightshift.errors import ModelRetry
from nightshift.models import Model
from worker import outside
from worker.outputs import Capture
from worker.tools.base import Output, tool
from worker.tools.github import NAME
from worker.tools.repository import git, local
from worker.tools.workbench import Workbench

SECONDS = 600
APPEAR_SECONDS = 60
"""After this long without any check, there is none."""
PAUSES = (2.0, 5.0, 10.0, 15.0, 30.0)
"""Seconds between two looks; the last one goes on. An unchanged answer (304) costs nothing of GitHub's limit."""
GOOD = frozenset({"success", "neutral", "skipped"})
MOST_LOGS = 3
LOG_TAIL = 8000
"""Characters of each failed job's log."""
STAMP = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT[\d:.]+Z ", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class CiWait(Model):
    repository: str = Field(pattern=NAME, description="owner/name")
    ref: str | None = Field(
        default=None, max_length=250, description="Commit or branch. Null: the commit that your clone is at."
    )
    wait_seconds: int = Field(default=SECONDS, ge=0, le=3600, description="0: look once.")


@dataclass(frozen=True)
class Check:
    name: str
    state: str
    """GitHub's own word: success, failure, in_progress ..."""
    done: bool
    id: int = 0
    summary: str = ""
    url: str = ""

    @property
    def failed(self) -> bool:
        return self.done and self.state not in GOOD


@dataclass
class _Api:
    """GETs with ETags, as one repository's token allows."""

    client: httpx.AsyncClient
    known: dict[str, tuple[str, Any]] = field(default_factory=dict[str, tuple[str, Any]])

    async def get(self, path: str) -> Any:
        tag, before = self.known.get(path, ("", None))
        try:
            answer = await self.client.get(path, headers={"If-None-Match": tag} if tag else {})
        except httpx.TransportError as fault:
            raise ModelRetry(f"GitHub could not be reached: {fault}") from fault
        if answer.status_code == 304:
            return before
        if answer.status_code != 200:
            raise ModelRetry(f"GitHub answered {answer.status_code} about {path}: {answer.text[:500]}")
        content = answer.json()
        self.known[path] = answer.headers.get("etag", ""), content
        return content


@tool(CiWait, repeatable=True, reads=True)
async def ci_wait(arguments: CiWait, bench: Workbench) -> Output:
    """Wait until all checks of a commit are done (push it first), and read the end of the failed jobs' logs."""
    sha = arguments.ref or await git(bench, "rev-parse", "HEAD", cwd=_clone(arguments.repository, bench))
    token = await bench.tokens.get(arguments.repository)
    sha = quote(sha, safe="/")
    client = httpx.AsyncClient(
        base_url=f"{bench.config.github_api_url}/repos/{arguments.repository}",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"},
        timeout=30,
        follow_redirects=True,  # a log's address is on another host, to which httpx does not send the token
    )
    async with client:
        checks, waited = await _wait(_Api(client), sha, arguments.wait_seconds)
        failed = [check for check in checks if check.failed]
        logs = [await _log(client, check, bench) for check in failed[:MOST_LOGS]]
    return Output("\n".join([_verdict(checks, sha, waited), *logs]), is_error=bool(failed))


async def _wait(api: _Api, sha: str, seconds: float) -> tuple[list[Check], float]:
    begun = time.monotonic()
    for look in range(10_000):
        checks = [check async for check in _checks(api, sha)]
        waited = time.monotonic() - begun
        settled = bool(checks) and all(check.done for check in checks)
        if settled or waited >= (seconds if checks else min(seconds, APPEAR_SECONDS)):
            return checks, waited
        await asyncio.sleep(min(PAUSES[min(look, len(PAUSES) - 1)], seconds - waited))
    raise AssertionError("the limit of seconds ends it")


async def _checks(api: _Api, sha: str) -> AsyncIterator[Check]:
    """Check runs, statuses of older services, and runs of workflows that have no job yet."""
    runs = (await api.get(f"/commits/{sha}/check-runs?per_page=100"))["check_runs"]
    for it in runs:
        says: dict[str, str | None] = it["output"] or {}
        summary = "\n".join(filter(None, (says.get("title"), says.get("summary"))))
        done = it["status"] == "completed"
        yield Check(it["name"], it["conclusion"] or it["status"], done, it["id"], summary, it["details_url"] or "")
    for it in (await api.get(f"/commits/{sha}/status?per_page=100"))["statuses"]:
        done = it["state"] != "pending"
        yield Check(it["context"], it["state"], done, 0, it["description"] or "", it["target_url"] or "")
    head = runs[0]["head_sha"] if runs else sha
    for it in (await api.get(f"/actions/runs?head_sha={head}&per_page=100"))["workflow_runs"]:
        if it["status"] != "completed" or it["conclusion"] in ("action_required", "startup_failure"):
            done = it["status"] == "completed"
            yield Check(f"workflow {it['name']}", it["conclusion"] or it["status"], done, 0, "", it["html_url"])


def _verdict(checks: list[Check], sha: str, waited: float) -> str:
    if not checks:
        return f"No check has appeared for {sha} in {waited:.0f} s. Was it pushed, and does the repository have CI?"
    open_, failed = [c for c in checks if not c.done], [c for c in checks if c.failed]
    if failed:
        head = f"{len(failed)} of {len(checks)} checks failed for {sha}."
    elif open_:
        head = (
            f"Not done yet: {len(open_)} of {len(checks)} checks for {sha} after {waited:.0f} s. Call again to go on."
        )
    else:
        head = f"All {len(checks)} checks of {sha} are good."
    return "\n".join([head, *_lines(checks)])


def _lines(checks: Iterable[Check]) -> Iterable[str]:
    for check in checks:
        yield f"- {outside.line(check.name)}: {check.state}"


async def _log(client: httpx.AsyncClient, check: Check, bench: Workbench) -> str:
    """The end of the job's log, or what the check itself says. The whole log is kept in a file, free of secrets."""
    said = outside.clean(check.summary) + (f"\n{check.url}" if check.url else "")
    name = f"ci-{check.id}.log"
    if not check.id or not await _download(client, f"/actions/jobs/{check.id}/logs", name, bench):
        return outside.wrap(f"check {outside.line(check.name)}", said[:LOG_TAIL] or "It says nothing.")
    with bench.outputs.open(name) as file:
        file.seek(-min(2 * LOG_TAIL, file.seek(0, 2)), 2)
        end = COLOUR.sub("", STAMP.sub("", file.read().decode(errors="replace")))
    tail = end[-LOG_TAIL:]
    tail = tail[tail.find("\n") + 1 :] if len(end) > LOG_TAIL else tail
    shown = outside.MARKS.sub("&lt;", outside.INVISIBLE.sub("", tail))
    where = f"[the whole log is in {bench.outputs.path / name}]"
    return outside.wrap(f"end of the log of {outside.line(check.name)}", f"{shown}\n{where}")


async def _download(client: httpx.AsyncClient, path: str, name: str, bench: Workbench) -> bool:
    """False: there is none, as for a check that is no job of GitHub Actions."""
    try:
        async with client.stream("GET", path) as answer:
            if answer.status_code != 200:
                return False
            kept = Capture(bench.outputs.create(name), bench.secrets)
            async for chunk in answer.aiter_bytes():
                kept.feed(chunk)
            kept.close()
    except httpx.TransportError:
        return False
    return True


def _clone(repository: str, bench: Workbench) -> Path:
    folder = local(repository, bench)
    if not (folder / ".git").is_dir():
        raise ModelRetry(f"{repository} is not cloned: name a ref.")
    return folder
