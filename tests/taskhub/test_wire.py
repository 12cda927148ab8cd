"""gRPC as clients other than durabletask's may speak it, and what is not gRPC."""

import socket
from typing import Any

import grpc
import pytest
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.empty_pb2 import Empty

from tests.taskhub.rig import Rig, code_of

SERVICE = "/TaskHubSidecarService"


def test_compressed_requests_are_read(rig: Rig) -> None:
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        request = pb.CreateInstanceRequest(instanceId=compression.name, name="x" * 1000)
        rig.stub.StartInstance(request, compression=compression)
        found = rig.stub.GetInstance(pb.GetInstanceRequest(instanceId=compression.name))
        assert found.orchestrationState.name == request.name


def test_an_unknown_method_is_said_so_and_the_connection_goes_on(rig: Rig) -> None:
    with grpc.insecure_channel(rig.address) as opened:
        channel: Any = opened
        for name, code in (("Nonsense", grpc.StatusCode.UNIMPLEMENTED), ("RaiseEvent", grpc.StatusCode.UNKNOWN)):
            call = channel.unary_unary(f"{SERVICE}/{name}")
            assert code_of(lambda call=call: call(b"\xff")) is code  # which is no message either
        assert channel.unary_unary(f"{SERVICE}/Hello")(Empty().SerializeToString()) == b""


def test_a_reason_in_any_language_comes_through(rig: Rig) -> None:
    with pytest.raises(grpc.RpcError, match="'Grüße 100% 你好' not found"):
        rig.stub.RaiseEvent(pb.RaiseEventRequest(instanceId="Grüße 100% 你好", name="x"))


def test_what_does_not_speak_grpc_is_shown_the_door(rig: Rig) -> None:
    host, _, port = rig.address.rpartition(":")
    with socket.create_connection((host, int(port))) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        while stranger.recv(1000):
            pass
    assert rig.status("x") is None
