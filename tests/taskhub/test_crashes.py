"""What was acknowledged outlives the hub: killed at any moment, or stopped while timers fall due."""

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from threading import Condition, Event
from typing import Any

import grpc
import pytest
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.grpc_options import GrpcWorkerResiliencyOptions
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.task import ActivityContext, OrchestrationContext

from embedded.taskhub import database
from tests.taskhub.rig import LOG, PATIENCE, Process, Rig, Steps, code_of, collect, eventually, kinds

SESSIONS = 12
MESSAGES = 6
KILLS = 6
REPORTS = SESSIONS * MESSAGES * 3
"""A session makes at least: for each message a turn, an activity, and a turn for its result."""


class Tally(DurableEntity):
    def add(self, number: int) -> int:
        self.set_state(self.get_state(int, 0) + number)
        return self.get_state(int, 0)


def tally(id: str) -> EntityInstanceId:
    return EntityInstanceId("Tally", id)


def slow_disk(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """The first is set when a sync has begun; none ends before the second is."""
    syncing, disk = Event(), Event()
    sync = database.SYNC

    def slow(file: int) -> None:
        syncing.set()
        assert disk.wait(PATIENCE)
        sync(file)

    monkeypatch.setattr(database, "SYNC", slow)
    return syncing, disk


def child(ctx: OrchestrationContext, text: str) -> Steps:
    yield ctx.create_timer(timedelta(milliseconds=50))
    return (yield ctx.call_activity("work", input=text))


def session(ctx: OrchestrationContext, seen: list[Any]) -> Steps:
    """Work on each message and have it counted; start afresh after every other one; end with the last."""
    for _ in range(2):
        message = yield ctx.wait_for_external_event("item")
        text = f"{ctx.instance_id}/{len(seen)}"
        if message % 3 == 1:
            answer = yield ctx.call_sub_orchestrator(child, input=text)
        else:
            answer = yield ctx.call_activity("work", input=text)
        seen.append([message, answer])
        ctx.signal_entity(tally(ctx.instance_id), "add", 1)
        if message == MESSAGES:
            return [seen, (yield ctx.call_entity(tally(ctx.instance_id), "add", 0))]
    ctx.continue_as_new(seen, save_events=True)


class Acknowledgements(grpc.UnaryUnaryClientInterceptor):
    """What the hub has acknowledged to the worker: the results of activities, and how many reports in all."""

    def __init__(self) -> None:
        self.results: set[str] = set()
        self._reports = 0
        self._changed = Condition()

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = continuation(client_call_details, request)
        if call.code() is grpc.StatusCode.OK:
            with self._changed:
                self._reports += 1
                self._changed.notify_all()
                if isinstance(request, pb.ActivityResponse):
                    self.results.add(json.loads(request.result.value))
        return call

    def wait_for(self, reports: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._reports >= reports, PATIENCE)


def persist[T](call: Callable[[], T]) -> tuple[T | None, bool]:
    """Call until there is an answer; it, and whether it came at once. A start may find that it had succeeded."""
    attempts: list[Exception] = []

    def answered() -> list[T | None]:
        try:
            return [call()]
        except grpc.RpcError as error:
            attempts.append(error)
            code: Any = getattr(error, "code", None)
            if code() is grpc.StatusCode.UNAVAILABLE:
                return []
            if code() is grpc.StatusCode.ALREADY_EXISTS and len(attempts) > 1:
                return [None]
            raise

    (answer,) = eventually(answered)
    return answer, not attempts


def test_sessions_go_on_when_the_hub_is_killed_at_any_moment(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    path = tmp_path / "hub.db"
    acknowledged = Acknowledgements()
    again: list[str] = []

    def work(ctx: ActivityContext, text: str) -> str:
        if text in acknowledged.results:
            again.append(text)
        return text

    hub = Process(path)
    with ExitStack() as stack:
        stack.callback(lambda: hub.kill())
        rig = stack.enter_context(Rig(path, hub.address))
        soon = GrpcWorkerResiliencyOptions(reconnect_backoff_base_seconds=0.05, reconnect_backoff_cap_seconds=0.2)
        rig.work(
            session, child, activities=[work], entities=[Tally], interceptors=[acknowledged], resiliency_options=soon
        )

        def drive(number: int) -> tuple[list[bool], Any]:
            id = f"session-{number}"
            persist(lambda: rig.start(session, [], id))
            once = [persist(partial(rig.send, id, message))[1] for message in range(1, MESSAGES + 1)]
            return once, persist(lambda: rig.output(id))[0]

        with ThreadPoolExecutor(SESSIONS) as drivers:
            jobs = [drivers.submit(drive, number) for number in range(SESSIONS)]
            for reports in sorted(chance.sample(range(REPORTS), KILLS)):
                acknowledged.wait_for(reports)
                hub.kill()
                hub = Process(path, hub.port)
        ended = [job.result() for job in jobs]
        hub.kill()
        hub = Process(path, hub.port)
        for number, (once, output) in enumerate(ended):
            id = f"session-{number}"
            assert persist(lambda id=id: rig.output(id))[0] == output
            seen, count = output
            assert count == len(seen), seen  # what was acknowledged to nobody may have been kept, and be sent again
            assert [answer for _, answer in seen] == [f"{id}/{place}" for place in range(len(seen))]
            times = [(message, len([*group])) for message, group in groupby(seen, lambda each: each[0])]
            assert [message for message, _ in times] == [*range(1, MESSAGES + 1)]
            assert not [message for message, number in times if number > 1 and once[message - 1]]
    assert again == []


def test_what_fell_due_while_the_hub_was_stopped_is_done_once(rig: Rig) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1)
    rig.start("timer", id="timer")
    hand = rig.hand()
    timer = pb.OrchestratorAction(id=1, createTimer=pb.CreateTimerAction())
    timer.createTimer.fireAt.FromDatetime(due)
    hand.turn(hand.get(), timer)
    rig.start("later", id="later", start_at=due)
    rig.client.signal_entity(tally("x"), "add", 1, signal_time=due)
    rig.hub.stop()
    eventually(lambda: datetime.now(UTC) > due)
    for _ in range(2):  # what was offered and not done is offered again
        rig.hub.start()
        hand = rig.hand()
        items = [hand.get() for _ in range(3)]
        assert {
            item.orchestratorRequest.instanceId or item.entityRequestV2.instanceId: kinds(item) for item in items
        } == {
            "timer": ["orchestratorStarted", "timerFired"],
            "later": ["orchestratorStarted", "executionStarted"],
            "@tally@x": ["entityOperationSignaled"],
        }
        rig.hub.stop()
    rig.hub.start()
    rig.work(entities=[Tally])
    hand = rig.hand(pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name="timer")]))
    hand.turn(hand.get())
    rig.send("timer")
    assert kinds(hand.get()) == ["orchestratorStarted", "eventRaised"]
    eventually(lambda: (found := rig.client.get_entity(tally("x"))) and found.get_state() == "1")


def test_nothing_is_acknowledged_and_no_activity_begins_before_the_sync(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = rig.hand()
    schedule = pb.OrchestratorAction(id=1, scheduleTask=pb.ScheduleTaskAction(name="act"))
    with ThreadPoolExecutor() as threads:
        syncing, disk = slow_disk(monkeypatch)
        started = threads.submit(rig.start, "x", id="x")
        item = hand.get()  # a turn may begin: it acts on nothing but this file
        assert syncing.wait(PATIENCE)
        read = threads.submit(rig.status, "x")
        reported = threads.submit(hand.turn, item, schedule)
        assert not any(job.done() for job in (started, read, reported))
        disk.set()
        for job in (started, read, reported):
            job.result()
        assert hand.get().activityRequest.name == "act"
        disk.clear()
        syncing.clear()
        signaled = threads.submit(rig.client.signal_entity, tally("x"), "add", 1)
        assert syncing.wait(PATIENCE)
        assert not signaled.done()
        disk.set()
        assert hand.get().HasField("entityRequestV2")


def test_after_a_sync_that_failed_nothing_is_acknowledged(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may report the next one as a success though pages of the last are gone."""
    hand = rig.hand()
    rig.start("x", id="x")
    item = hand.get()
    sync = database.SYNC

    def fail(file: int) -> None:
        monkeypatch.setattr(database, "SYNC", sync)
        raise OSError("the disk is gone")

    monkeypatch.setattr(database, "SYNC", fail)
    schedule = pb.OrchestratorAction(id=1, scheduleTask=pb.ScheduleTaskAction(name="act"))
    writes = (lambda: hand.turn(item, schedule), lambda: rig.start("y"), lambda: rig.send("x"))
    for call in writes:
        assert code_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
    for call in (lambda: rig.status("x"), lambda: rig.events("x"), lambda: rig.end("x")):
        assert code_of(call) is grpc.StatusCode.UNKNOWN


def test_a_stop_with_grace_waits_for_what_is_in_hand_and_hands_out_no_more(rig: Rig) -> None:
    hand = rig.hand(maxConcurrentOrchestrationWorkItems=1)
    for id in ("x", "y"):
        rig.start("any", id=id)
    item = hand.get()
    with ThreadPoolExecutor() as threads:
        stopped = threads.submit(rig.hub.stop, PATIENCE)
        finish = pb.CompleteOrchestrationAction(orchestrationStatus=pb.ORCHESTRATION_STATUS_COMPLETED)
        assert not stopped.done()
        hand.turn(item, pb.OrchestratorAction(completeOrchestration=finish))  # is acknowledged
        stopped.result()
    hand.leave()
    assert hand.is_idle()
    rig.hub.start()
    assert (rig.status("x"), rig.status("y")) == (OrchestrationStatus.COMPLETED, OrchestrationStatus.PENDING)


def test_a_stop_waits_no_longer_than_it_was_given_and_answers_what_is_being_synced(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = rig.hand()
    rig.start("held", id="held")
    hand.get()
    syncing, disk = slow_disk(monkeypatch)
    with ThreadPoolExecutor() as threads:
        started = threads.submit(rig.start, "x", id="x")
        assert syncing.wait(PATIENCE)
        stopped = threads.submit(rig.hub.stop, 0.01)
        disk.set()
        assert started.result() == "x"
        stopped.result()


def test_no_event_is_overlooked_whatever_it_meets(rig: Rig) -> None:
    """Events come while others are in a worker's hands, reported on, committed or synced: each must begin a turn."""
    count = 40

    def send(number: int) -> None:
        for id in ids:
            rig.send(id, number)

    rig.work(collect)
    ids = [rig.start(collect, count) for _ in range(5)]
    with ThreadPoolExecutor(8) as senders:
        for job in [senders.submit(send, number) for number in range(count)]:
            job.result()
    for id in ids:
        assert sorted(rig.output(id)) == [*range(count)]


def test_many_clients_wait_at_once(rig: Rig) -> None:
    ids = [rig.start(collect, 1) for _ in range(30)]
    with ExitStack() as stack:
        clients = [stack.enter_context(TaskHubGrpcClient(host_address=rig.address, logger=LOG)) for _ in range(60)]
        waits = [
            stack.enter_context(ThreadPoolExecutor(1)).submit(
                client.wait_for_orchestration_completion, id, timeout=PATIENCE
            )
            for client, id in zip(clients, ids * 2, strict=True)
        ]
        rig.work(collect)
        for id in ids:
            rig.send(id, id)
        states = [wait.result() for wait in waits]
    assert [state and state.get_output() for state in states] == [[id] for id in ids] * 2
