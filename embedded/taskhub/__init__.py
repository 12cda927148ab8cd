"""A task hub in one SQLite file, for any client and worker of the Durable Task gRPC protocol.

`service` speaks the protocol and `dispatch` knows who works on what. What a call changes is said by `instances` (the
life of an orchestration), `turns` (what workers report), `entities` and `locks`, all by way of `inbox`; what it reads,
by `queries`; `database` keeps it. Nothing here knows the apps that are run on it.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2_grpc as stubs

from embedded.errors import StartError
from embedded.taskhub.service import Service

# A history or a payload may be of any size: gRPC's default of 4 MB is for strangers.
GRPC_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0))
THREADS = 1000  # at most, made when needed: whoever waits for an orchestration, or for work, holds one


class TaskHub:
    """Serves the file `path` on a loopback `port`, 0 for a free one. Without a path, nothing outlives `stop`.

    `default_version` is that of orchestrations which a client starts without one.
    """

    def __init__(self, path: str | Path | None = None, port: int = 0, default_version: str | None = None) -> None:
        self._path = path
        self._default_version = default_version
        self._port = port
        self._serving = False
        self._grace: float | None = None
        self._running = ExitStack()

    def start(self) -> str:
        """Serve; returns "127.0.0.1:port". Raises StartError: the port is taken, the file locked, damaged or newer."""
        with ExitStack() as running:
            path = self._path or Path(running.enter_context(tempfile.TemporaryDirectory(prefix="taskhub-")), "hub.db")
            service = Service(Path(path), self._default_version)
            running.callback(service.close)
            threads = running.enter_context(ThreadPoolExecutor(THREADS, "task-hub"))
            server = grpc.server(threads, options=GRPC_OPTIONS)
            add: Any = stubs.add_TaskHubSidecarServiceServicer_to_server  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            add(service, server)
            try:
                port = server.add_insecure_port(f"127.0.0.1:{self._port}")
            except RuntimeError as error:
                raise StartError(f"the task hub cannot listen on port {self._port}: {error}") from error
            server.start()
            running.callback(lambda: server.stop(self._grace).wait())
            self._running = running.pop_all()
        self._port, self._serving = port, True
        return f"127.0.0.1:{port}"

    def stop(self, grace: float | None = None) -> None:
        """Take no more calls, end those there are after `grace` seconds, close the file. May be repeated."""
        self._grace = grace
        self._serving = False
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


def create_hub(path: str | Path | None = None, port: int = 0) -> TaskHub:
    """A hub that is serving."""
    hub = TaskHub(path, port)
    hub.start()
    return hub
