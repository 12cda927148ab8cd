"""The forge as one object: start it, fill it, look into it, stop it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Generator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.forge.git_http import GitHttp
from demo.forge.records import CheckRun, Installation, Issue, Pull, Repository, Scopes, WorkflowRun, now
from demo.forge.rest import apps, rest_app
from demo.forge.shapes.links import Links
from demo.forge.state import State

log = logging.getLogger("demo.forge")
GRACE = 5  # seconds that requests under way get at stop


class Forge:
    """All state is below `root`: the bare repositories and `forge.json`. A new forge on it carries on."""

    def __init__(self, root: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.state = State(root)
        self._address = (host, port)
        self._url = ""
        self._git = GitHttp(self.state)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where git is served: `{url}/{owner}/{name}.git`. Known once started."""
        assert self._url, "the forge has not been started"
        return self._url

    @property
    def api_url(self) -> str:
        """What `Github(base_url=...)` takes."""
        return f"{self.url}/api/v3"

    async def start(self) -> None:
        listener = socket.create_server(self._address)
        host, port = listener.getsockname()[:2]
        self._url = f"http://{host}:{port}"
        app = self._app(rest_app(self.state, Links(self._url)))
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listener]))
        await self._server.ready.wait()

    async def stop(self) -> None:
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await self._git.stop()
        await self._serving
        self._server = self._serving = None

    async def create_repository(self, owner: str, name: str, source: Path | None = None) -> Repository:
        """With the files of `source` as the first commit on `main`. Once made, it is left as it is."""
        return await self.state.create_repository(f"{owner}/{name}", source)

    def create_issue(
        self, owner: str, name: str, title: str, body: str = "", author: str = "", labels: list[str] | None = None
    ) -> Issue:
        """Written by the repository's owner when no `author` is named."""
        repository = self.state.records.repositories[f"{owner}/{name}"]
        return self.state.add_issue(repository, author or owner, title, body, labels)

    def limit(self, owner: str, name: str, collaborators: list[str]) -> None:
        """Besides the owner only these may push; the others may read, talk and fork."""
        with self.state.change() as records:
            records.repositories[f"{owner}/{name}"].collaborators = collaborators

    def add_token(self, login: str, scopes: Scopes = "rw", repositories: list[str] | None = None) -> str:
        """A new token of `login` for the named repositories (`owner/name`), or for all."""
        return self.state.add_token(login, scopes, repositories)

    def add_app(self) -> tuple[str, str]:
        """A new GitHub App: its id and private key (PEM)."""
        return apps.add(self.state)

    def install(self, app: str, repositories: list[str], permissions: dict[str, str] | None = None) -> Installation:
        """An App at the account of these repositories, with what it needs unless said otherwise."""
        return apps.install(self.state, app, repositories, permissions or apps.PERMISSIONS)

    def issues(self, owner: str, name: str) -> list[Issue]:
        """Newest first, pull requests left out."""
        return [issue for issue in self.state.issues(f"{owner}/{name}") if issue.pull is None]

    async def pull_requests(self, owner: str, name: str) -> list[tuple[Issue, Pull]]:
        """Newest first, open and closed, with each open one's `head_sha` as git has it now."""
        await self.state.refresh(f"{owner}/{name}")
        return [(issue, issue.pull) for issue in self.state.issues(f"{owner}/{name}") if issue.pull is not None]

    def comments(self, owner: str, name: str, number: int) -> list[str]:
        """The bodies of an issue's or pull request's comments, oldest first."""
        at = (f"{owner}/{name}", number)
        return [it.body for it in self.state.records.comments if (it.repository, it.number) == at]

    def start_workflow(self, owner: str, name: str, sha: str, jobs: list[str], workflow: str = "CI") -> dict[str, int]:
        """A run with these jobs under way for the commit. The jobs' ids by name."""
        with self.state.change() as records:
            run = WorkflowRun(id=records.new_id(), repository=f"{owner}/{name}", head_sha=sha, name=workflow, number=1)
            run.status = "in_progress"
            records.workflow_runs.append(run)
            made = [
                CheckRun(id=records.new_id(), repository=run.repository, head_sha=sha, name=job, workflow_run=run.id)
                for job in jobs
            ]
            for job in made:
                job.status, job.started_at = "in_progress", now()
            records.check_runs += made
        return {job.name: job.id for job in made}

    def finish_job(self, id: int, conclusion: str, log: str = "") -> None:
        """The run is finished with the last of its jobs."""
        with self.state.change() as records:
            job = next(it for it in records.check_runs if it.id == id)
            job.status, job.conclusion, job.completed_at, job.log = "completed", conclusion, now(), log
            run = next(it for it in records.workflow_runs if it.id == job.workflow_run)
            jobs = [it for it in records.check_runs if it.workflow_run == run.id]
            if all(it.status == "completed" for it in jobs):
                run.status, run.updated_at = "completed", now()
                run.conclusion = next((it.conclusion for it in jobs if it.conclusion != "success"), "success")

    def _app(self, rest: ASGIApp) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            status = 0

            async def noting(message: Message) -> None:
                nonlocal status
                status = message.get("status", status)
                await send(message)

            try:
                await (self._git if self._git.serves(scope["path"]) else rest)(scope, receive, noting)
            finally:  # paths are logged, headers and queries never: they hold secrets
                log.info("%s %s %s", scope.get("method", scope["type"]), scope["path"], status or "unanswered")

        return app


class _Server(uvicorn.Server):
    """Says when it listens, and leaves the process's signals to whoever runs the forge."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
