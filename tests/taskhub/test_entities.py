"""Entities: signals, calls, locks, queries."""

from datetime import UTC, datetime, timedelta
from typing import Any

from durabletask.client import EntityQuery
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.task import OrchestrationContext

from tests.taskhub.rig import Rig, Steps, eventually


class Counter(DurableEntity):
    def add(self, number: int) -> int:
        self.set_state(self.get_state(int, 0) + number)
        return self.get_state(int, 0)

    def fail(self, message: str) -> None:
        self.set_state(-1)
        raise ValueError(message)

    def forward(self, other: str) -> None:
        self.signal_entity(counter(other), "add", 5)
        self.schedule_new_orchestration("noted", input=other, instance_id=f"noted-{other}")


def counter(key: str) -> EntityInstanceId:
    return EntityInstanceId("Counter", key)


def noted(ctx: OrchestrationContext, text: str) -> str:
    return text


def call(ctx: OrchestrationContext, given: list[Any]) -> Steps:
    key, operation, input = given
    return (yield ctx.call_entity(counter(key), operation, input))


def lock(ctx: OrchestrationContext, keys: list[str]) -> Steps:
    """Hold locks until told to let go; returns what the first one was, at first and at last."""
    first = counter(keys[0])
    with (yield ctx.lock_entities([counter(key) for key in keys])):
        before = yield ctx.call_entity(first, "add", 0)
        ctx.set_custom_status("holds")
        yield ctx.wait_for_external_event("item")
        after = yield ctx.call_entity(first, "add", 0)
        yield ctx.call_entity(first, "add", 100)
    return [before, after]


def value(rig: Rig, key: str) -> int | None:
    found = rig.client.get_entity(counter(key))
    return found and int(found.get_state() or 0)


def holds(rig: Rig, id: str) -> bool:
    state = rig.client.get_orchestration_state(id)
    return state is not None and state.get_custom_status() == "holds"


def test_signals_and_calls_are_done_in_order_and_failures_reach_the_caller(rig: Rig) -> None:
    def caller(ctx: OrchestrationContext, _: None) -> Steps:
        for number in (1, 2, 3):
            ctx.signal_entity(counter("a"), "add", number)
        found: list[Any] = [(yield ctx.call_entity(counter("a"), "add", 0))]
        try:
            yield ctx.call_entity(counter("a"), "fail", "out of order")
        except Exception as error:
            found.append("out of order" in str(error))
        return [*found, (yield ctx.call_entity(counter("a"), "add", 4))]  # what failed has left no trace

    rig.client.signal_entity(counter("a"), "add", 10)  # nobody is there yet
    assert value(rig, "b") is None
    rig.work(caller, noted, entities=[Counter])
    assert rig.output(rig.start(caller)) == [16, True, 20]
    rig.client.signal_entity(counter("a"), "forward", "b")
    eventually(lambda: value(rig, "b") == 5)
    assert rig.output("noted-b") == "b"


def test_signals_are_delayed(rig: Rig) -> None:
    def timed(ctx: OrchestrationContext, due: str) -> Steps:
        ctx.signal_entity(counter("b"), "add", 7, signal_time=datetime.fromisoformat(due))
        return (yield ctx.call_entity(counter("b"), "add", 0))

    rig.work(timed, entities=[Counter])
    due = datetime.now(UTC) + timedelta(seconds=1)
    rig.client.signal_entity(counter("a"), "add", 1, signal_time=due)
    rig.client.signal_entity(counter("a"), "add", 10)
    rig.output(rig.start(timed, due.isoformat()))
    eventually(lambda: (value(rig, "a"), value(rig, "b")) == (11, 7))
    assert datetime.now(UTC) >= due


def test_a_lock_holds_back_what_others_send_later(rig: Rig) -> None:
    """What was sent before the lock was granted is done; what others send after, when the lock is free again."""
    rig.client.signal_entity(counter("a"), "add", 1)
    rig.work(lock, call)
    id = rig.start(lock, ["a", "b"])
    eventually(lambda: "EntityOperationCalled" in rig.events(id))
    other = rig.start(call, ["a", "add", 10])
    eventually(lambda: "EntityOperationCalled" in rig.events(other))
    rig.client.signal_entity(counter("b"), "add", 20)
    rig.work(entities=[Counter])
    eventually(lambda: holds(rig, id))
    rig.output(rig.start(call, ["c", "add", 1]))
    assert (value(rig, "a"), value(rig, "b")) == (1, None)
    found = rig.stub.GetEntity(pb.GetEntityRequest(instanceId=str(counter("a")))).entity
    assert (found.lockedBy.value, found.backlogQueueSize) == (id, 1)
    rig.send(id)
    assert (rig.output(id), rig.output(other)) == ([1, 1], 111)
    eventually(lambda: value(rig, "b") == 20)


def test_a_delayed_signal_that_falls_due_under_a_lock_waits(rig: Rig) -> None:
    rig.work(lock, call, entities=[Counter])
    due = datetime.now(UTC) + timedelta(seconds=1)
    rig.client.signal_entity(counter("a"), "add", 2, signal_time=due)
    id = rig.start(lock, ["a"])
    eventually(lambda: holds(rig, id) and datetime.now(UTC) > due)
    for _ in range(2):  # by then, it would have been done
        rig.output(rig.start(call, ["b", "add", 1]))
    rig.send(id)
    before, after = rig.output(id)
    assert before == after
    eventually(lambda: value(rig, "a") == 102)


def test_locks_are_granted_in_the_order_of_asking_and_freed_with_their_owner(rig: Rig) -> None:
    """The second wants what the first holds, and something free that the third wants: the third waits, too."""
    rig.work(lock, call, entities=[Counter])
    ids = [rig.start(lock, ["a"])]
    for keys in (["a", "b"], ["b"], ["b"], ["b"]):
        eventually(lambda: "EntityLockRequested" in rig.events(ids[-1]))
        ids.append(rig.start(lock, keys))
    eventually(lambda: "EntityLockRequested" in rig.events(ids[-1]))
    rig.output(rig.start(call, ["b", "add", 1]))  # who only waits for a lock does not hold it
    assert rig.client.clean_entity_storage().orphaned_locks_released == 0
    while ids:
        id = ids.pop(0)
        eventually(lambda id=id: holds(rig, id))
        assert not any(holds(rig, later) for later in ids)
        if len(ids) == 2:  # the third holds "b", and two wait for it
            for gone in (ids.pop(0), id):
                rig.client.terminate_orchestration(gone)
        else:
            rig.send(id)
            rig.output(id)


def test_entities_are_queried_in_pages_and_cleaned(rig: Rig) -> None:
    rig.work(call, entities=[Counter])
    for key in "abcde":
        rig.output(rig.start(call, [key, "add", 1]))
    middle = datetime.now(UTC)
    rig.output(rig.start(call, ["f", "add", 1]))
    rig.output(rig.start(call, ["a", "delete", None]))

    def keys(**query: Any) -> str:
        return "".join(sorted(entity.id.key for entity in rig.client.get_all_entities(EntityQuery(**query))))

    assert keys() == keys(page_size=2) == "bcdef"
    assert keys(include_transient=True, page_size=1) == "abcdef"
    assert rig.client.get_entity(counter("a")) is None
    assert (keys(instance_id_starts_with="@counter@c"), keys(instance_id_starts_with="@count_r")) == ("c", "")
    assert (keys(last_modified_from=middle), keys(last_modified_to=middle)) == ("f", "bcde")
    (bare,) = rig.client.get_all_entities(EntityQuery(instance_id_starts_with="@counter@b", include_state=False))
    assert not bare.includes_state
    cleaned = rig.client.clean_entity_storage()
    assert (cleaned.empty_entities_removed, cleaned.orphaned_locks_released) == (1, 0)
    assert keys(include_transient=True) == "bcdef"
    assert rig.client.purge_orchestration("@counter@b").deleted_instance_count == 1
    assert value(rig, "b") is None
