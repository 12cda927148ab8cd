"""GitHub tokens: fetched when needed, kept in memory, handed to git by a credential helper.

Git runs worker/inside/git.py, which asks the worker over a Unix socket. So no token is in a URL, a file, a
prompt, a command line or an environment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nightshift.errors import NightshiftError
from nightshift.models import GitHubToken
from worker.sandbox import PYTHON

logger = logging.getLogger(__name__)

EARLY = timedelta(minutes=5)
UNDATED = timedelta(minutes=10)
"""How long a token without an expiry date is kept."""


class Tokens:
    """`fetch(repository, renew)` asks the control plane; what it gave is kept until shortly before it expires, or until
    GitHub refuses it."""

    def __init__(self, fetch: Callable[[str, bool], Awaitable[GitHubToken]], learn: Callable[[str], None]) -> None:
        self._fetch = fetch
        self._learn = learn
        self._kept: dict[str, tuple[str, datetime]] = {}
        self._refused: set[str] = set()

    def refuse(self, repository: str, token: str) -> None:
        """GitHub took this token for none of its own (it may have been revoked): the next one is a new one."""
        if self._kept.get(repository, ("",))[0] == token:
            del self._kept[repository]
            self._refused.add(repository)

    async def get(self, repository: str) -> str:
        """Raises Permanent if the session may not use the repository, Retryable if nobody answers."""
        token, until = self._kept.get(repository, ("", datetime.min.replace(tzinfo=UTC)))
        if datetime.now(UTC) < until:
            return token
        answer = await self._fetch(repository, repository in self._refused)
        self._refused.discard(repository)
        self._learn(answer.token)
        until = answer.expires_at - EARLY if answer.expires_at else datetime.now(UTC) + UNDATED
        self._kept[repository] = answer.token, until
        return answer.token


def git_environment(github_host: str, path: Path, program: Path) -> dict[str, str]:
    """What makes git ask the worker for this host, and nobody else, whatever the machine's own git is configured to.

    `program` is where worker/inside/git.py lies for git to run it.
    """
    command = shlex.join([*PYTHON, str(program), "credential", str(path)])
    settings = [
        (f"credential.{github_host}.helper", ""),  # an empty one forgets the helpers configured before
        (f"credential.{github_host}.helper", f"!{command}"),
        (f"credential.{github_host}.useHttpPath", "true"),
        ("gc.autoDetach", "false"),  # what a command leaves behind is ended, and a garbage collector should not be
        ("maintenance.autoDetach", "false"),
    ]
    environment = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


@asynccontextmanager
async def serve(
    tokens: Tokens, github_host: str, path: Path, pushes: Callable[[bytes], Awaitable[bytes]], *, shared: bool = False
) -> AsyncGenerator[None]:
    """Answers git's requests, for credentials and (in JSON) for pushes, on a socket that only this user may open;
    `shared`: and whom the folder's ACL names."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.read()
            if request.startswith(b"{"):
                writer.write(await pushes(request))
            else:
                fields = dict(line.split("=", 1) for line in request.decode().splitlines() if "=" in line)
                writer.write((await _reply(tokens, github_host, fields)).encode())
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, sock=_bind(path, 0o660 if shared else 0o600))
    async with server:
        yield
    path.unlink(missing_ok=True)


async def _reply(tokens: Tokens, github_host: str, request: dict[str, str]) -> str:
    if f"{request.get('protocol')}://{request.get('host')}" != github_host:
        return ""
    repository = request.get("path", "").removesuffix("/").removesuffix(".git")
    if request.get("action") == "erase":
        tokens.refuse(repository, request.get("password", ""))
        return ""
    try:
        token = await tokens.get(repository)
    except NightshiftError as fault:  # git says 'authentication failed' to the model; the reason is for the operator
        logger.warning("no token for %r: %s", repository, fault)
        return "quit=1\n"
    return f"username=x-access-token\npassword={token}\n"


def _bind(path: Path, mode: int) -> socket.socket:
    path.unlink(missing_ok=True)
    with _reachable(path) as address:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        os.fchmod(bound.fileno(), mode)  # before it has a name, so that it never had a wider one
        bound.bind(address)
        return bound


@contextmanager
def _reachable(path: Path) -> Generator[str]:
    """A path may be longer than the 107 bytes a socket's address holds, so the folder is named by its descriptor."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
