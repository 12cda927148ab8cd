"""A task hub in one SQLite file, for any client and worker of the Durable Task gRPC protocol.

`service` speaks the protocol over `wire`, and `dispatch` knows who works on what. What a call changes is said by
`instances` (the life of an orchestration), `turns` (what workers report), `entities` and `locks`, all by way of
`inbox`; what it reads, by `queries`; `database` keeps it. All of a hub runs on one event loop, so nothing is locked.
Nothing here knows the apps that are run on it.
"""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from embedded.errors import StartError
from embedded.taskhub import wire
from embedded.taskhub.service import Service


class TaskHub:
    """Serves the file `path` on a loopback `port`, 0 for a free one. Without a path, nothing outlives `stop`.

    `default_version` is that of orchestrations which a client starts without one.
    """

    def __init__(self, path: str | Path | None = None, port: int = 0, default_version: str | None = None) -> None:
        self._path = path
        self._default_version = default_version
        self._port = port
        self._running = ExitStack()
        self._serving = False

    def start(self) -> str:
        """Serve; returns "127.0.0.1:port". Raises StartError: the port is taken, the file locked, damaged or newer."""
        with ExitStack() as running:
            path = self._path or Path(running.enter_context(tempfile.TemporaryDirectory(prefix="taskhub-")), "hub.db")
            portal = running.enter_context(start_blocking_portal(name="task-hub"))
            self._port = running.enter_context(portal.wrap_async_context_manager(self._serve(Path(path))))
            running.callback(setattr, self, "_serving", False)
            self._running, self._serving = running.pop_all(), True
        return f"127.0.0.1:{self._port}"

    def stop(self) -> None:
        """End all calls and close the file. May be repeated."""
        self._running.close()

    def reset(self) -> None:
        """Forget everything."""
        serving = self._serving
        self.stop()
        for suffix in ("", "-wal", "-shm"):
            if self._path is not None:
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        if serving:
            self.start()

    @asynccontextmanager
    async def _serve(self, path: Path) -> AsyncGenerator[int]:
        with closing(Service(path, self._default_version)) as service:
            try:
                async with wire.serving(service.methods(), self._port) as port:
                    yield port
            except OSError as error:
                raise StartError(f"the task hub cannot listen on port {self._port}: {error}") from error


def create_hub(path: str | Path | None = None, port: int = 0) -> TaskHub:
    """A hub that is serving."""
    hub = TaskHub(path, port)
    hub.start()
    return hub
