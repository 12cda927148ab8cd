"""A hub on a file, durabletask's own client and workers, and a worker by hand.

`python -m tests.taskhub.rig FILE PORT` is a hub in a process of its own, to be killed.
"""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Self

import grpc
import pytest
from durabletask import history, task
from durabletask.client import OrchestrationState, OrchestrationStatus, TaskHubGrpcClient
from durabletask.grpc_options import GrpcChannelOptions
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.worker import TaskHubGrpcWorker

from embedded.taskhub import TaskHub

type Steps = Generator[Any, Any, Any]

PATIENCE = 120.0
"""Seconds to wait for what will come; only a failing test waits that long."""
ROOT = Path(__file__).parents[2]
LIMITS = GrpcChannelOptions(max_receive_message_length=-1, max_send_message_length=-1)
LOG = logging.getLogger(__name__)
LOG.setLevel(logging.CRITICAL)  # durabletask logs whatever the tests break on purpose
STOPPING = ThreadPoolExecutor()  # a worker takes a second to stop, which no test needs to wait for


def collect(ctx: task.OrchestrationContext, count: int) -> Steps:
    """That many events, in the order of their coming."""
    found: list[Any] = []
    while len(found) < count:
        found.append((yield ctx.wait_for_external_event("item")))
    return found


def eventually[T](look: Callable[[], T]) -> T:
    """What `look` returns, as soon as that is something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
    return found


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    """How the hub refused a call."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    error: Any = raised.value
    return error.code()


def kinds(item: Any) -> list[str]:
    """Of the new events in a work item."""
    new = [*item.orchestratorRequest.newEvents, *item.entityRequestV2.operationRequests]
    return [event.WhichOneof("eventType") for event in new]


class Hand:
    """A worker by hand: it gets work, and reports what and when the test likes. None comes after `leave`."""

    def __init__(self, address: str, **accepts: Any) -> None:
        self._channel = grpc.insecure_channel(address)
        stub: Any = stubs.TaskHubSidecarServiceStub
        self.stub = stub(self._channel)
        self._stream = self.stub.GetWorkItems(pb.GetWorkItemsRequest(**accepts))
        self._items: SimpleQueue[pb.WorkItem] = SimpleQueue()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with suppress(grpc.RpcError):  # the test has left, or stopped the hub
            for item in self._stream:
                self._items.put(item)

    def get(self) -> Any:
        """The next pb.WorkItem."""
        return self._items.get(timeout=PATIENCE)

    def turn(self, item: Any, *actions: pb.OrchestratorAction) -> None:
        response = pb.OrchestratorResponse(completionToken=item.completionToken, actions=actions)
        response.instanceId = item.orchestratorRequest.instanceId
        self.stub.CompleteOrchestratorTask(response)

    def result(self, item: Any, result: str, failure: pb.TaskFailureDetails | None = None) -> None:
        asked = item.activityRequest
        response = pb.ActivityResponse(
            taskId=asked.taskId, completionToken=item.completionToken, failureDetails=failure
        )
        response.instanceId, response.result.value = asked.orchestrationInstance.instanceId, result
        self.stub.CompleteActivityTask(response)

    def is_idle(self) -> bool:
        return self._items.empty()

    def ended(self) -> None:
        """Return when its stream has broken."""
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive()

    def leave(self) -> None:
        self._stream.cancel()
        self._reader.join()

    def close(self) -> None:
        self.leave()
        self._channel.close()


class Rig:
    """A hub that serves `path`, with guests that leave before it ends; or guests of one that serves `address`."""

    def __init__(self, path: Path, address: str = "") -> None:
        self._stack = ExitStack()
        self.hub = TaskHub(path)
        self.address = address or self.hub.start()
        self._stack.callback(self.hub.stop)
        self.client = TaskHubGrpcClient(host_address=self.address, channel_options=LIMITS, logger=LOG)
        self._stack.enter_context(self.client)
        stub: Any = stubs.TaskHubSidecarServiceStub
        self.stub = stub(self._stack.enter_context(grpc.insecure_channel(self.address)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def work(
        self, *orchestrators: Any, activities: Sequence[Any] = (), entities: Sequence[Any] = (), **options: Any
    ) -> TaskHubGrpcWorker:
        """A worker for these functions only, until the test's end."""
        worker = TaskHubGrpcWorker(host_address=self.address, channel_options=LIMITS, logger=LOG, **options)
        for add, functions in (
            (worker.add_orchestrator, orchestrators), (worker.add_activity, activities), (worker.add_entity, entities),
        ):  # fmt: skip
            for function in functions:
                add(function)
        worker.use_work_item_filters()
        worker.start()
        self._stack.callback(STOPPING.submit, worker.stop)
        return worker

    def hand(self, filters: pb.WorkItemFilters | None = None, **limits: int) -> Hand:
        hand = Hand(self.address, workItemFilters=filters, **limits)
        self._stack.callback(hand.close)
        return hand

    def start(self, orchestrator: Any, input: Any = None, id: str = "", **more: Any) -> str:
        return self.client.schedule_new_orchestration(orchestrator, input=input, instance_id=id or None, **more)

    def send(self, id: str, data: Any = None, name: str = "item") -> None:
        self.client.raise_orchestration_event(id, name, data=data)

    def status(self, id: str) -> OrchestrationStatus | None:
        state = self.client.get_orchestration_state(id)
        return state and state.runtime_status

    def reached(self, id: str, status: OrchestrationStatus = OrchestrationStatus.RUNNING) -> None:
        eventually(lambda: self.status(id) is status)

    def end(self, id: str) -> OrchestrationState:
        """Its last state, when it has ended."""
        state = self.client.wait_for_orchestration_completion(id, timeout=PATIENCE)
        assert state is not None
        return state

    def output(self, id: str) -> Any:
        """What it returned, when it has."""
        state = self.end(id)
        assert state.runtime_status is OrchestrationStatus.COMPLETED, state
        return state.get_output()

    def history[E: history.HistoryEvent](self, id: str, kind: type[E] = history.HistoryEvent) -> list[E]:
        return [event for event in self.client.get_orchestration_history(id) if isinstance(event, kind)]

    def events(self, id: str) -> list[str]:
        """The kinds of events in its history."""
        return [type(event).__name__.removesuffix("Event") for event in self.history(id)]


class Process:
    """A hub in a process of its own."""

    def __init__(self, path: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "tests.taskhub.rig", str(path), str(port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        self.port = int(self.address.rpartition(":")[2])
        self.pid = self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    hub = TaskHub(sys.argv[1], int(sys.argv[2]))
    print(hub.start(), flush=True)
    sys.stdin.read()  # so that it ends with the tests, however they do
