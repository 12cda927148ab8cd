"""The task hub: keeps orchestrations, and speaks the Durable Task gRPC protocol and nothing else.

This one keeps them in memory (`durabletask.testing`). Another hub needs the same `start` and `stop`.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc
import grpc.aio
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing import create_test_backend

# A history or a payload may be of any size: gRPC's default of 4 MB is for strangers.
GRPC_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
THREADS = 64  # a client that waits for an orchestration holds one


class Hub(Protocol):
    async def start(self) -> str:
        """Serve on a free loopback port; returns "127.0.0.1:port"."""
        ...

    async def stop(self) -> None: ...


class MemoryHub:
    """Forgets everything when it stops."""

    def __init__(self) -> None:
        self._backend = create_test_backend()
        self._threads = ThreadPoolExecutor(THREADS, "hub")
        # The backend's own server would listen on every interface; reuseport would let two hubs share a port.
        self._server = grpc.server(self._threads, options=(*GRPC_OPTIONS, ("grpc.so_reuseport", 0)))
        add: Any = stubs.add_TaskHubSidecarServiceServicer_to_server  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        add(self._backend, self._server)

    async def start(self) -> str:
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        self._backend.stop()
        await asyncio.to_thread(self._server.stop(grace=0.5).wait)
        self._backend.reset()  # wakes the threads of waiting clients
        self._threads.shutdown(wait=False, cancel_futures=True)


def connect(address: str) -> tuple[grpc.aio.Channel, Any]:
    """A channel to the hub, which the caller closes, and the protocol's stub (generated, untyped) on it."""
    channel = grpc.aio.insecure_channel(address, options=GRPC_OPTIONS)
    stub: Any = stubs.TaskHubSidecarServiceStub
    return channel, stub(channel)
