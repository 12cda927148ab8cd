"""The connection to the task hub, which speaks the Durable Task gRPC protocol and nothing else."""

from typing import Any

import grpc.aio
from durabletask.internal import orchestrator_service_pb2_grpc as stubs

# A history or a payload may be of any size: gRPC's default of 4 MB is for strangers.
GRPC_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def connect(address: str) -> tuple[grpc.aio.Channel, Any]:
    """A channel to the hub, which the caller closes, and the protocol's stub (generated, untyped) on it."""
    channel = grpc.aio.insecure_channel(address, options=GRPC_OPTIONS)
    stub: Any = stubs.TaskHubSidecarServiceStub
    return channel, stub(channel)
