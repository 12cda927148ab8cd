"""Who is given what: filters, limits, and work that a dead or unwilling worker had in hand."""

from typing import Any

from durabletask.entities import EntityInstanceId
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.task import OrchestrationContext, Task, when_all
from google.protobuf.wrappers_pb2 import StringValue

from tests.taskhub.rig import Rig, Steps, kinds

COUNTER = EntityInstanceId("counter", "x")


def fan(ctx: OrchestrationContext, names: list[str]) -> Steps:
    """Activities that only a hand does."""
    tasks: list[Task[Any]] = [ctx.call_activity("act", input=name) for name in names]
    return (yield when_all(tasks))


def accepts(orchestrations: str = "", activities: str = "", entities: str = "") -> pb.WorkItemFilters:
    """Names, each with the versions that are wanted if not any: "name:1,2 name"."""

    def filters(kind: Any, names: str) -> list[Any]:
        parts = (name.partition(":") for name in names.split())
        return [kind(name=name, versions=versions.split(",") if versions else []) for name, _, versions in parts]

    return pb.WorkItemFilters(
        orchestrations=filters(pb.OrchestrationFilter, orchestrations),
        activities=filters(pb.ActivityFilter, activities),
        entities=[pb.EntityFilter(name=name) for name in entities.split()],
    )


def what(item: pb.WorkItem) -> str:
    """The orchestration's or entity's id, the activity's input."""
    activity = item.activityRequest.input.value.strip('"')
    return item.orchestratorRequest.instanceId or item.entityRequestV2.instanceId or activity


def schedule(input: str, number: int = 0) -> pb.OrchestratorAction:
    task = pb.ScheduleTaskAction(name="act", input=StringValue(value=input))
    return pb.OrchestratorAction(id=number, scheduleTask=task)


def finish(output: str) -> pb.OrchestratorAction:
    ending = pb.CompleteOrchestrationAction(orchestrationStatus=pb.ORCHESTRATION_STATUS_COMPLETED)
    ending.result.value = output
    return pb.OrchestratorAction(id=99, completeOrchestration=ending)


def test_workers_get_only_what_their_filters_name(rig: Rig) -> None:
    for name, version in (("a", "1"), ("a", "2"), ("a", ""), ("b", "1"), ("c", "7")):
        rig.start(name, id=f"{name}{version}", version=version or None)
    rig.client.signal_entity(COUNTER, "add")
    some = [rig.hand(accepts(names)) for names in ("a:2,3 b:2", "c", "")]
    assert [what(hand.get()) for hand in some[:2]] == ["a2", "c7"]
    assert what(rig.hand(accepts(entities="counter")).get()) == str(COUNTER)
    everything = rig.hand()
    assert {what(everything.get()) for _ in range(3)} == {"a", "a1", "b1"}
    for hand in some:
        hand.leave()
    assert {what(everything.get()) for _ in range(2)} == {"a2", "c7"}


def test_filters_hold_for_one_that_was_replaced_under_another_name(rig: Rig) -> None:
    rig.start("a", id="x")
    rig.client.terminate_orchestration("x")
    rig.start("b", id="x")
    rig.start("a", id="y")
    assert [what(rig.hand(accepts(name)).get()) for name in "ab"] == ["y", "x"]


def test_a_worker_has_no_more_in_hand_than_it_likes(rig: Rig) -> None:
    """Work of another kind, which comes in turn, shows that none of the limited kind was to be had."""
    hand = rig.hand(maxConcurrentActivityWorkItems=2, maxConcurrentOrchestrationWorkItems=1)
    rig.start("first")
    hand.turn(hand.get(), *(schedule(f"{number}", number) for number in range(4)))
    for id in ("x", "y"):
        rig.start("next", id=id)
    *activities, orchestration = sorted((hand.get() for _ in range(3)), key=what)
    assert [what(item) for item in activities] == ["0", "1"]
    hand.turn(orchestration)
    following = hand.get()
    assert {what(orchestration), what(following)} == {"x", "y"}
    hand.result(activities[0], "1")
    hand.turn(following)
    assert sorted(item.WhichOneof("request") for item in (hand.get(), hand.get())) == [
        "activityRequest", "orchestratorRequest",
    ]  # fmt: skip


def test_work_that_is_abandoned_comes_again(rig: Rig) -> None:
    hand = rig.hand()
    rig.start("x", id="x")
    rig.client.signal_entity(COUNTER, "add")
    first = {what(item): item for item in (hand.get(), hand.get())}
    for _ in range(2):  # more than once does no more
        token = first["x"].completionToken
        hand.stub.AbandonTaskOrchestratorWorkItem(pb.AbandonOrchestrationTaskRequest(completionToken=token))
    token = first[str(COUNTER)].completionToken
    hand.stub.AbandonTaskEntityWorkItem(pb.AbandonEntityTaskRequest(completionToken=token))
    again = {what(item): item for item in (hand.get(), hand.get())}
    assert {id: kinds(item) for id, item in again.items()} == {id: kinds(item) for id, item in first.items()}
    hand.turn(again["x"], schedule("a"))
    token = hand.get().completionToken
    hand.stub.AbandonTaskActivityWorkItem(pb.AbandonActivityTaskRequest(completionToken=token))
    hand.result(hand.get(), "1")
    hand.turn(hand.get(), finish("1"))
    assert rig.output("x") == 1


def test_a_dead_workers_activities_come_to_another_and_each_result_counts_once(rig: Rig) -> None:
    """Of two activities in a dead worker's hands one is taken by another, who likes no more: one late report counts."""
    rig.work(fan)
    acts = accepts(activities="act")
    dead = rig.hand(acts)
    id = rig.start(fan, ["a", "b", "c"])
    had = {what(item): item for item in (dead.get() for _ in range(3))}
    dead.result(had.pop("c"), '"in time"')
    dead.leave()
    other = rig.hand(acts, maxConcurrentActivityWorkItems=1)
    item = other.get()  # so the hub knows that the first one is gone
    dead.result(had.pop(what(item)), '"too late"')
    ((kept, late),) = had.items()
    for result in ('"late"', '"twice"'):
        dead.result(late, result)
        other.result(item, '"by another"')
    outputs = {kept: "late", what(item): "by another", "c": "in time"}
    assert rig.output(id) == [outputs[name] for name in "abc"]
    assert rig.events(id).count("TaskCompleted") == 3
    rig.start(fan, ["d"])
    assert what(other.get()) == "d"  # and nothing else came again


def test_work_that_a_worker_cannot_receive_comes_to_another_with_all_else_that_it_had(rig: Rig) -> None:
    """A worker's channel takes 4 MB unless it says otherwise; its stream ends with a message that is larger."""

    def length(ctx: OrchestrationContext, text: str) -> int:
        return len(text)

    hand = rig.hand()
    small = rig.start(length, "x")
    assert what(hand.get()) == small
    large = rig.start(length, "x" * 5_000_000)
    hand.ended()
    rig.work(length)
    assert [rig.output(small), rig.output(large)] == [1, 5_000_000]


def test_a_turn_counts_once(rig: Rig) -> None:
    """Reported by a dead worker after another was given it, and twice by that one."""
    dead = rig.hand(accepts("x"))
    rig.start("x", id="x")
    lost = dead.get()
    dead.leave()
    other = rig.hand(accepts("x"))
    item = other.get()
    dead.turn(lost, schedule("lost"))
    for _ in range(2):
        other.turn(item, schedule("kept"))
    dead.turn(lost, finish("lost"))
    act = rig.hand(accepts(activities="act"))
    item = act.get()
    act.result(item, "1")
    other.turn(other.get(), schedule("next", 1))
    assert [what(item), what(act.get())] == ["kept", "next"]
    assert rig.events("x").count("TaskScheduled") == 2


def test_a_turn_for_one_that_was_replaced_meanwhile_is_ignored(rig: Rig) -> None:
    hand = rig.hand()
    rig.start("x", 1, id="x")
    item = hand.get()
    rig.client.terminate_orchestration("x")
    rig.start("x", 2, id="x")
    hand.turn(item, finish("1"))
    item = hand.get()
    assert item.orchestratorRequest.newEvents[1].executionStarted.input.value == "2"
    hand.turn(item, finish("2"))
    assert rig.output("x") == 2


def test_a_batch_of_operations_counts_once_and_what_is_left_of_it_comes_again(rig: Rig) -> None:
    def adds(ctx: OrchestrationContext, count: int) -> Steps:
        tasks: list[Task[Any]] = [ctx.call_entity(COUNTER, "add", number) for number in range(count)]
        return (yield when_all(tasks))

    def report(hand: Any, item: pb.WorkItem, state: str, *results: str) -> None:
        done = [pb.OperationResultSuccess(result=StringValue(value=result)) for result in results]
        outcome = pb.EntityBatchResult(
            completionToken=item.completionToken, entityState=StringValue(value=state),
            results=[pb.OperationResult(success=each) for each in done],
        )  # fmt: skip
        hand.stub.CompleteEntityTask(outcome)

    rig.work(adds)
    dead = rig.hand(accepts(entities="counter"))
    id = rig.start(adds, 3)
    lost = dead.get()
    dead.leave()
    other = rig.hand(accepts(entities="counter"))
    item = other.get()
    report(dead, lost, "666", "6", "6", "6")
    for _ in range(2):
        report(other, item, "10", "1", "2")
    item = other.get()
    (left,) = item.entityRequestV2.operationRequests
    assert (item.entityRequestV2.entityState.value, left.entityOperationCalled.input.value) == ("10", "2")
    report(other, item, "20", "3")
    assert rig.output(id) == [1, 2, 3]
