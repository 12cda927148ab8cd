"""Git over smart HTTP: a bridge from ASGI to the CGI program `git http-backend`, which does all the work.

Written against bare ASGI, for request and answer stream at the same time. Gzip bodies are unpacked by git itself.
"""

import asyncio
import logging
import os
import re
import signal
from asyncio.subprocess import Process

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from demo.forge.access import identify
from demo.forge.git import ENVIRONMENT
from demo.forge.records import Token
from demo.forge.state import State

log = logging.getLogger("demo.forge")
REQUEST = re.compile(r"/([\w.-]+/[\w.-]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)")
CHUNK = 1 << 16
PATIENCE = 5.0  # seconds for git to tidy up after SIGTERM


class GitHttp:
    def __init__(self, state: State) -> None:
        self._state = state
        self._running: set[Process] = set()

    def serves(self, path: str) -> bool:
        return REQUEST.fullmatch(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = REQUEST.fullmatch(scope["path"])
        assert match is not None
        full_name, action = match.groups()
        query = scope["query_string"].decode("latin-1")
        pushes = action == "git-receive-pack" or "service=git-receive-pack" in query
        headers = Headers(scope=scope)
        token = identify(self._state, headers)
        if refusal := self._refusal(token, full_name, pushes):
            await refusal(scope, receive, send)
            return
        assert token is not None
        environment = ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(self._state.root / "repositories"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{full_name}.git/{action}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": scope["method"],
            "REMOTE_USER": token.login,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": headers.get("content-length", ""),  # none when chunked: git reads to the end
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
            "GIT_COMMITTER_NAME": token.login,
            "GIT_COMMITTER_EMAIL": f"{token.login}@forge.invalid",
        }
        pushed = full_name if action == "git-receive-pack" else None
        await self._backend(environment, receive, send, pushed)

    def _refusal(self, token: Token | None, full_name: str, pushes: bool) -> Response | None:
        if token is None:
            challenge = {"WWW-Authenticate": 'Basic realm="forge"'}
            return PlainTextResponse("Authentication required.\n", 401, headers=challenge)
        repository = self._state.records.repositories.get(full_name)
        if repository is None or repository.hidden or not token.reads(full_name):
            return PlainTextResponse("Repository not found.\n", 404)
        if pushes and not repository.pushable(token):
            return PlainTextResponse(f"Write access to {full_name} not granted.\n", 403)
        return None

    async def _backend(self, environment: dict[str, str], receive: Receive, send: Send, pushed: str | None) -> None:
        process = await asyncio.create_subprocess_exec(
            *("git", "http-backend"),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that its children can be ended with it
        )
        self._running.add(process)
        try:
            async with asyncio.TaskGroup() as tasks:
                feeding = tasks.create_task(_feed(process, receive))
                tasks.create_task(_complain(process))
                await _answer(process, send)
                feeding.cancel()  # git may answer without having read all
                if pushed:
                    await self._state.pushed(pushed)
                await send({"type": "http.response.body", "body": b"", "more_body": False})  # after all is recorded
        finally:
            await _end(process)
            self._running.discard(process)

    async def stop(self) -> None:
        await asyncio.gather(*(_end(process) for process in list(self._running)))


async def _feed(process: Process, receive: Receive) -> None:
    assert process.stdin is not None
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                await _end(process)
                return
            process.stdin.write(message.get("body", b""))
            await process.stdin.drain()
            if not message.get("more_body", False):
                break
    except (BrokenPipeError, ConnectionResetError):
        log.info("git closed its input early")  # it has said why in its answer
    process.stdin.close()


async def _answer(process: Process, send: Send) -> None:
    assert process.stdout is not None
    status, headers = 200, list[tuple[bytes, bytes]]()
    while line := (await process.stdout.readline()).rstrip(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.lower() == b"status":
            status = int(value.split()[0])
        else:
            headers.append((name.lower(), value))
    if not headers:  # ended before it said anything
        status = 503
    await send({"type": "http.response.start", "status": status, "headers": headers})
    while chunk := await process.stdout.read(CHUNK):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await process.wait()


async def _complain(process: Process) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        log.warning("git http-backend: %s", line.decode(errors="replace").rstrip())


async def _end(process: Process) -> None:
    """Ends the backend and what it started. SIGTERM first: git then removes its half-written files."""
    if process.returncode is not None:
        return  # it waits for its own children before it ends
    _signal_group(process, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), PATIENCE)
    except TimeoutError:
        log.warning("git http-backend ignores SIGTERM")
    _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # all of them have gone, which is what is wanted
