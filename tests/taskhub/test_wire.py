"""gRPC as clients other than durabletask's may speak it, and what is not gRPC."""

import select
import socket
from contextlib import suppress
from typing import Any

import grpc
import pytest
from durabletask.client import OrchestrationQuery, OrchestrationStatus, TaskHubGrpcClient
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.task import OrchestrationContext
from google.protobuf.empty_pb2 import Empty
from h2.connection import H2Connection
from h2.settings import SettingCodes

from tests.taskhub.rig import LOG, Rig, Steps, code_of, eventually

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


def test_hundreds_may_wait_on_one_connection(rig: Rig) -> None:
    for id in ("x", "y"):
        rig.start("any", id=id)
    waits = [rig.stub.WaitForInstanceCompletion.future(pb.GetInstanceRequest(instanceId=id)) for id in ["x", "y"] * 200]
    rig.stub.TerminateInstance(pb.TerminateRequest(instanceId="x"))  # it is served beside them
    assert {wait.result().orchestrationState.instanceId for wait in waits[::2]} == {"x"}
    assert not any(wait.done() for wait in waits[1::2])
    for wait in waits[1::2]:
        wait.cancel()
    assert rig.status("x") is OrchestrationStatus.TERMINATED


def test_who_does_not_read_is_not_heard_and_holds_up_nobody(rig: Rig) -> None:
    """Its answers would fill the hub's memory: its windows are as large as it likes."""
    rig.start("x", "x" * 1_000_000, "x")
    ask = pb.GetInstanceRequest(instanceId="x", getInputsAndOutputs=True).SerializeToString()
    stranger = H2Connection()
    stranger.initiate_connection()
    stranger.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
    stranger.increment_flow_control_window(2**31 - 1 - 65535)
    path = {":method": "POST", ":scheme": "http", ":authority": "hub", ":path": f"{SERVICE}/GetInstance"}
    for stream in range(1, 41, 2):
        stranger.send_headers(stream, path.items())
        stranger.send_data(stream, b"\0" + len(ask).to_bytes(4) + ask, end_stream=True)
    stranger.send_headers(41, path.items())
    settled, more = bytes.fromhex("000000 04 01 00000000"), bytes.fromhex("004000 00 00 00000029") + bytes(0x4000)
    host, _, port = rig.address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(stranger.data_to_send() + settled)
        connection.setblocking(False)
        left = b""

        def is_full() -> bool:
            nonlocal left
            with suppress(BlockingIOError):
                while True:
                    left = left or more
                    left = left[connection.send(left) :]
            for _ in range(100):  # while it looks at each of its connections
                rig.status("x")
            return not select.select([], [connection], [], 0)[1]

        def is_heard_again() -> bool:
            with suppress(BlockingIOError):
                while connection.recv(1 << 20):
                    pass
            return bool(select.select([], [connection], [], 0)[1])

        eventually(is_full)
        eventually(is_heard_again)


def test_what_is_long_comes_in_parts_that_every_client_takes(rig: Rig) -> None:
    """Which is 4 MB to a message, unless a client says otherwise."""

    def hear(ctx: OrchestrationContext, count: int) -> Steps:
        for _ in range(count):
            yield ctx.wait_for_external_event("item")

    text = "x" * 700_000
    for id in ("a", "b", "c", "d", "e", "f"):
        rig.start("later", text, id)
    rig.start(hear, 8, "long")
    for _ in range(8):
        rig.send("long", text)
    rig.work(hear)
    rig.output("long")
    with TaskHubGrpcClient(host_address=rig.address, logger=LOG) as client:
        query = OrchestrationQuery(runtime_status=[OrchestrationStatus.PENDING], fetch_inputs_and_outputs=True)
        assert [state.instance_id for state in client.get_all_orchestration_states(query)] == [*"abcdef"]
        kinds = [type(event).__name__ for event in client.get_orchestration_history("long")]
        assert kinds.count("EventRaisedEvent") == 8
