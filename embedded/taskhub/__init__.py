"""A task hub in one SQLite file, for any client and worker of the Durable Task gRPC protocol.

`service` speaks the protocol over `wire`, and `dispatch` knows who works on what. What a call changes is said by
`instances` (the life of an orchestration), `turns` (what workers report), `entities` and `locks`, all by way of
`inbox`; what it reads, by `queries`; `database` keeps it. All of a hub runs on one event loop, so nothing is locked.
Nothing here knows the apps that are run on it.
"""

import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from embedded.errors import StartError
from embedded.taskhub import wire
from embedded.taskhub.service import Service

LONGEST_SOCKET = 107  # bytes of its path, says the kernel


class TaskHub:
    """Serves the file `path` on a loopback `port`, 0 for a free one, None for a Unix socket of this user's alone.

    The socket is beside the file. Without a path, nothing outlives `stop`. A work item brings its orchestration's whole
    history: a worker's channel is best without gRPC's limit of 4 MB to a message.

    `default_version` is that of orchestrations which a client starts without one.
    """

    def __init__(
        self, path: str | Path | None = None, port: int | None = 0, default_version: str | None = None
    ) -> None:
        self._path = path
        self._default_version = default_version
        self._port = port
        self._grace = 0.0
        self._running = ExitStack()
        self._serving = False

    def start(self) -> str:
        """Serve; returns "127.0.0.1:port" or "unix:path".

        Raises StartError: the port is taken, the file locked, damaged or newer.
        """
        with ExitStack() as running:

            def own(name: str) -> Path:
                return Path(running.enter_context(tempfile.TemporaryDirectory(prefix="taskhub-")), name)

            path = Path(self._path or own("hub.db")).absolute()
            place = Path(f"{path}.sock") if self._port is None else self._port
            if isinstance(place, Path) and len(os.fsencode(place)) > LONGEST_SOCKET:
                place = own("hub.sock")
            portal = running.enter_context(start_blocking_portal(name="task-hub"))
            address = running.enter_context(portal.wrap_async_context_manager(self._serve(path, place)))
            running.callback(setattr, self, "_serving", False)
            self._running, self._serving = running.pop_all(), True
        if self._port is not None:
            self._port = int(address.rpartition(":")[2])
        return address

    def stop(self, grace: float = 0) -> None:
        """Hand out no more work, wait up to `grace` seconds for reports, end all calls and close the file.

        May be repeated.
        """
        self._grace = grace
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
    async def _serve(self, path: Path, place: int | Path) -> AsyncGenerator[str]:
        with closing(Service(path, self._default_version)) as service:
            try:
                async with wire.serving(service.methods(), place) as address:
                    yield address
                    await service.drain(self._grace)
            except OSError as error:
                where = f"{place} (choose another TMPDIR or file)" if isinstance(place, Path) else f"port {place}"
                raise StartError(f"the task hub cannot listen on {where}: {error}") from error
