"""The worker in a container that waits for its session: POST /invocations, GET /ping.

    python -m worker.container [--port 8080]      in the folder that the agent works in

A pool keeps such containers ready and gives one to a session with its first request. The container runs that session's
worker and no other; a later start of the same session replaces the worker in it. When the worker has nothing left to
do, the container ends, and so does the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from typing import Literal

from aiohttp import web
from pydantic import Field, ValidationError

from nightshift.models import MachineSpec, Model

LARGEST = 100_000
"""Bytes of an invocation."""
PATIENCE = 10.0
"""Seconds that a worker has to end before it is killed."""
_log = logging.getLogger(__name__)


class Ping(Model):
    """`Healthy`: free, or its worker ended; `HealthyBusy`: a worker runs."""

    status: Literal["Healthy", "HealthyBusy"]
    time_of_last_update: int
    """When the status changed: seconds since 1970."""
    session_id: str = ""
    generation: int = 0
    exit_code: int | None = Field(default=None, description="Of the worker that ran last, if it ended.")


class Invocation(Model):
    """What became of an invocation."""

    status: Literal["started", "running", "refused"]
    generation: int
    reason: str = ""


class Container:
    """One worker at a time."""

    def __init__(self) -> None:
        self._spec: MachineSpec | None = None
        self._worker: asyncio.subprocess.Process | None = None
        self._changed = int(time.time())
        self._order = asyncio.Lock()  # of this container's own worker; two containers are told apart by the log's fence
        self.over = asyncio.Event()

    async def invoke(self, spec: MachineSpec) -> Invocation:
        """The same generation again changes nothing; an older one is refused; a newer one takes over."""
        async with self._order:
            current = self._spec
            if current is not None and current.session_id != spec.session_id:
                return Invocation(status="refused", generation=current.generation, reason="it serves another session")
            if current is not None and current.generation > spec.generation:
                return Invocation(status="refused", generation=current.generation, reason="a newer start took over")
            if current is not None and current.generation == spec.generation:
                return Invocation(status="running", generation=spec.generation)
            await self._end()
            self._spec = spec
            self._worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker", "--machine", f"nightshift-{spec.session_id}"),
                stdin=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            assert self._worker.stdin is not None
            self._worker.stdin.write(spec.model_dump_json().encode())  # no environment, no file, no argument holds it
            self._worker.stdin.close()
            self._changed = int(time.time())
            self._watcher = asyncio.create_task(self._watch(self._worker))
            return Invocation(status="started", generation=spec.generation)

    def ping(self) -> Ping:
        ended = None if self._worker is None else self._worker.returncode
        busy = self._worker is not None and ended is None
        return Ping(
            status="HealthyBusy" if busy else "Healthy",
            time_of_last_update=self._changed,
            session_id=self._spec.session_id if self._spec else "",
            generation=self._spec.generation if self._spec else 0,
            exit_code=ended,
        )

    async def close(self) -> None:
        async with self._order:
            await self._end()

    async def _watch(self, worker: asyncio.subprocess.Process) -> None:
        code = await worker.wait()
        if worker is self._worker:
            self._changed = int(time.time())
            _log.info("the worker ended with %d", code)
            if code >= 0:  # by itself: the control plane no longer wants it
                self.over.set()

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None or worker.returncode is not None:
            return
        worker.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                await worker.wait()
        except TimeoutError:
            os.killpg(worker.pid, signal.SIGKILL)
            await worker.wait()


def create_app(container: Container) -> web.Application:
    async def invoke(request: web.Request) -> web.Response:
        try:
            spec = MachineSpec.model_validate_json(await request.read())
        except ValidationError as fault:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in fault.errors())
            return _problem(422, f"Send a machine's specification as JSON. {wrong}")
        done = await container.invoke(spec)
        return web.json_response(done.model_dump(), status=409 if done.status == "refused" else 202)

    async def ping(_: web.Request) -> web.Response:
        return web.json_response(container.ping().model_dump())

    app = web.Application(client_max_size=LARGEST)
    app.add_routes([web.post("/invocations", invoke), web.get("/ping", ping)])
    return app


def _problem(status: int, detail: str) -> web.Response:
    body = {"type": "about:blank", "status": status, "title": "Unprocessable content", "detail": detail}
    return web.json_response(body, status=status, content_type="application/problem+json")


async def serve(port: int) -> None:
    """Until the worker has nothing left to do, or SIGTERM."""
    container = Container()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, container.over.set)
    runner = web.AppRunner(create_app(container), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()
        _log.info("waiting for a session on port %d", port)
        await container.over.wait()
    finally:
        await container.close()
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.container", description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
