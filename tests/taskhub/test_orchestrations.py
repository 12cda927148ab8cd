"""What orchestrations do: events, children, continue-as-new, rewinding, large histories and payloads."""

from datetime import timedelta
from typing import Any

import grpc
from durabletask import history
from durabletask.client import OrchestrationStatus
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.task import ActivityContext, OrchestrationContext, when_all

from tests.taskhub.rig import Rig, Steps, code_of, collect, eventually

SOON = timedelta(milliseconds=1)
FAILED = OrchestrationStatus.FAILED


def double(ctx: ActivityContext, number: int) -> int:
    return 2 * number


def test_events_before_a_waiter_exists_are_kept_in_order(rig: Rig) -> None:
    def late(ctx: OrchestrationContext, _: None) -> Steps:
        yield ctx.create_timer(SOON)
        found: list[Any] = []
        for name in ("go", "ITEM", "item", "other"):  # names have no case
            found.append((yield ctx.wait_for_external_event(name)))
        return found

    id = rig.start("late")
    for name, data in (("other", None), ("item", {"n": 1}), ("Item", ""), ("go", 0)):
        rig.send(id, data, name)
    rig.work(late)
    assert rig.output(id) == [0, {"n": 1}, "", None]


def test_orchestrations_send_each_other_events(rig: Rig) -> None:
    def sender(ctx: OrchestrationContext, targets: list[str]) -> Steps:
        for number, target in enumerate([*targets, ctx.instance_id]):
            ctx.send_event(target, "item", data=number)
        return (yield ctx.wait_for_external_event("item"))

    rig.work(sender, collect)
    target = rig.start(collect, 2)
    id = rig.start(sender, [target, "nobody", target])
    assert (rig.output(id), rig.output(target)) == (3, [0, 2])
    sent = rig.history(id, history.EventSentEvent)
    assert [event.instance_id for event in sent] == [target, "nobody", target, id]


def test_continue_as_new_carries_events_and_nothing_else(rig: Rig) -> None:
    """What the first execution asked for, a timer, an activity, a child, is not answered to the second."""

    def again(ctx: OrchestrationContext, given: list[Any]) -> Steps:
        timer = ctx.create_timer(timedelta(seconds=1 + len(given)))  # of the same number in both
        if not given:
            ctx.call_activity(double, input=21)
            ctx.call_sub_orchestrator(collect, input=1, instance_id="child")
            yield ctx.wait_for_external_event("go")
            ctx.continue_as_new(["second"], save_events=True)
            return None
        due = ctx.current_utc_datetime + timedelta(seconds=2)
        for _ in range(3):
            given.append((yield ctx.wait_for_external_event("item")))
        yield timer
        return [*given, ctx.current_utc_datetime >= due]

    rig.work(again, collect)
    id = rig.start(again, [])
    rig.reached("child")
    rig.client.suspend_orchestration(id)
    rig.reached(id, OrchestrationStatus.SUSPENDED)
    for name, data in (("item", 1), ("item", 2), ("go", 0)):  # one turn takes them all
        rig.send(id, data, name)
    rig.client.resume_orchestration(id)
    eventually(lambda: rig.events(id).count("EventRaised") == 2)
    rig.work(activities=[double])  # answers only now
    rig.send("child")
    rig.output("child")
    rig.send(id, 3)
    assert rig.output(id) == ["second", 1, 2, 3, True]
    events = rig.events(id)
    assert [events.count(kind) for kind in ("ExecutionStarted", "TimerFired", "EventRaised")] == [1, 1, 3]
    assert not {"TaskCompleted", "SubOrchestrationInstanceCompleted"}.intersection(events)


def test_continue_as_new_with_a_new_version_inside_a_parent(rig: Rig) -> None:
    def versions(ctx: OrchestrationContext, found: list[Any]) -> Steps:
        yield ctx.create_timer(SOON)
        found.append([ctx.version, ctx.parent_instance_id])
        if len(found) == 3:
            return found
        ctx.continue_as_new(found, new_version=f"{len(found)}.0")

    def above(ctx: OrchestrationContext, _: None) -> Steps:
        return (yield ctx.call_sub_orchestrator(versions, input=[], version="0.5"))

    rig.work(above, versions)
    assert rig.output(rig.start(above, id="id")) == [["0.5", "id"], ["1.0", "id"], ["2.0", "id"]]


def test_a_childs_failure_and_a_taken_id_reach_the_parent(rig: Rig) -> None:
    def broken(ctx: OrchestrationContext, _: None) -> Steps:
        yield ctx.create_timer(SOON)
        raise LookupError("what the child says")

    def above(ctx: OrchestrationContext, child: str) -> Steps:
        try:
            yield ctx.call_sub_orchestrator(broken, instance_id=child)
        except Exception as error:
            details: Any = getattr(error, "details", None)
            return [details.error_type.rpartition(".")[2], details.message]

    rig.work(above, broken, collect)
    assert rig.output(rig.start(above, "free")) == ["LookupError", "what the child says"]
    rig.start(collect, 1, "taken")
    assert "'taken' already exists" in rig.output(rig.start(above, "taken"))[1]
    rig.send("taken")
    rig.output("taken")
    assert rig.output(rig.start(above, "taken"))[1] == "what the child says"  # it had ended and made room


def test_rewind_does_again_what_failed_and_nothing_else(rig: Rig) -> None:
    """One child fails; what else its parent asked for ends while that is failed."""
    broken = True
    runs: list[str] = []

    def act(ctx: ActivityContext, name: str) -> str:
        runs.append(name)
        if broken and name == "fragile":
            raise ValueError("broken")
        return name

    def child(ctx: OrchestrationContext, name: str) -> Steps:
        if name == "slow":
            yield ctx.wait_for_external_event("item")
        first = yield ctx.call_activity(act, input=f"before {name}")
        return [first, (yield ctx.call_activity(act, input=name))]

    def above(ctx: OrchestrationContext, _: None) -> Steps:
        timer = ctx.create_timer(timedelta(seconds=1))
        slow = ctx.call_sub_orchestrator(child, input="slow", instance_id="slow")
        late = [ctx.call_activity(double, input=number) for number in (4, 5)]
        fragile = yield ctx.call_sub_orchestrator(child, input="fragile")
        answers = yield when_all([slow, *late, timer])
        return [fragile, *answers[:3]]

    rig.work(above, child, activities=[act])
    id = rig.start(above)
    assert rig.end(id).runtime_status is FAILED
    assert code_of(lambda: rig.client.rewind_orchestration("slow")) is grpc.StatusCode.FAILED_PRECONDITION
    rig.send("slow")
    rig.output("slow")
    hand = rig.hand(pb.WorkItemFilters(activities=[pb.ActivityFilter(name="double")]))
    first, second = hand.get(), hand.get()
    hand.result(first, "8")
    hand.result(second, "", pb.TaskFailureDetails(errorType="Late", errorMessage="broken"))
    broken = False
    rig.client.rewind_orchestration(id, reason="mended")
    hand.result(hand.get(), "10")
    assert rig.output(id) == [["before fragile", "fragile"], ["before slow", "slow"], 8, 10]
    assert sorted(runs) == ["before fragile", "before slow", "fragile", "fragile", "slow"]
    assert [event.reason for event in rig.history(id, history.ExecutionRewoundEvent)] == ["mended"]


def test_an_event_for_one_that_is_being_rewound_is_kept(rig: Rig) -> None:
    broken = True

    def act(ctx: ActivityContext, _: None) -> None:
        if broken:
            raise ValueError("broken")

    def above(ctx: OrchestrationContext, _: None) -> Steps:
        yield ctx.call_activity(act)
        return (yield ctx.wait_for_external_event("item"))

    worker = rig.work(above, activities=[act])
    id = rig.start(above)
    assert rig.end(id).runtime_status is FAILED
    worker.stop()
    broken = False
    rig.client.rewind_orchestration(id)
    rig.send(id, "accepted")
    worker.start()
    assert rig.output(id) == "accepted"


def test_a_large_history_is_streamed_whole_and_in_order(rig: Rig) -> None:
    def many(ctx: OrchestrationContext, turns: int) -> Steps:
        for number in range(turns):
            yield ctx.call_activity(double, input=number)

    rig.work(many, activities=[double])
    id = rig.start(many, 150)
    rig.output(id)
    completed = rig.history(id, history.TaskCompletedEvent)
    assert [event.result for event in completed] == [str(2 * number) for number in range(150)]
    scheduled = [event.event_id for event in rig.history(id, history.TaskScheduledEvent)]
    assert [event.task_scheduled_id for event in completed] == scheduled
    turn = ["OrchestratorCompleted", "OrchestratorStarted", "TaskCompleted", "TaskScheduled"]
    assert rig.events(id) == [
        "OrchestratorStarted", "ExecutionStarted", "TaskScheduled", *turn * 149, *turn[:3],
        "OrchestratorCompleted", "ExecutionCompleted",
    ]  # fmt: skip


def test_payloads_of_eight_megabytes(rig: Rig) -> None:
    def shout(ctx: ActivityContext, text: str) -> str:
        return text.upper()

    def large(ctx: OrchestrationContext, text: str) -> Steps:
        return (yield ctx.call_activity(shout, input=text))

    rig.work(large, activities=[shout])
    id = rig.start(large, "x" * (8 << 20))
    assert rig.output(id) == "X" * (8 << 20)
    assert len(rig.history(id, history.TaskCompletedEvent)[0].result or "") > 8 << 20
