"""The life of an orchestration as clients see it: start, queries, suspend, terminate, restart, purge."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from durabletask import history
from durabletask.client import OrchestrationQuery, OrchestrationStatus
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.task import OrchestrationContext

from embedded.taskhub import TaskHub
from tests.taskhub.rig import Rig, Steps, code_of, collect

COMPLETED, FAILED, TERMINATED = (OrchestrationStatus[name] for name in ("COMPLETED", "FAILED", "TERMINATED"))
RUNNING, PENDING, SUSPENDED = (OrchestrationStatus[name] for name in ("RUNNING", "PENDING", "SUSPENDED"))


def echo(ctx: OrchestrationContext, given: Any) -> Any:
    return given


def failing(ctx: OrchestrationContext, given: Any) -> Any:
    raise ValueError(f"cannot {given}")


def parent(ctx: OrchestrationContext, child: str) -> Steps:
    try:
        return (yield ctx.call_sub_orchestrator(collect, input=1, instance_id=child))
    except Exception as error:
        return f"failed: {error}"


@pytest.mark.parametrize(
    ("before", "replaceable", "allowed"),
    [
        (COMPLETED, [], True),
        (FAILED, [], True),
        (TERMINATED, [], True),
        (RUNNING, [], False),
        (COMPLETED, [FAILED], False),
        (FAILED, [FAILED, TERMINATED], True),
        (RUNNING, [RUNNING], True),
        (RUNNING, [COMPLETED], False),
    ],
)
def test_an_id_is_used_again_as_the_policy_says(
    rig: Rig, before: OrchestrationStatus, replaceable: list[OrchestrationStatus], allowed: bool
) -> None:
    rig.work(echo, failing, collect)
    rig.start({COMPLETED: echo, FAILED: failing}.get(before, collect), 1, "x")
    if before is TERMINATED:
        rig.client.terminate_orchestration("x")
    rig.reached("x", before)
    policy = pb.OrchestrationIdReusePolicy(replaceableStatus=[status.value for status in replaceable])
    if allowed:
        rig.start(collect, 1, "x", reuse_id_policy=policy)
        rig.send("x", "new")
        assert rig.output("x") == ["new"]
        assert rig.events("x").count("ExecutionStarted") == 1
    else:
        code = code_of(lambda: rig.start(collect, 1, "x", reuse_id_policy=policy))
        assert (code, rig.status("x")) == (grpc.StatusCode.ALREADY_EXISTS, before)


def test_a_scheduled_start_waits_with_all_that_is_sent_meanwhile(rig: Rig) -> None:
    rig.work(collect)
    due = datetime.now(UTC) + timedelta(seconds=1)
    for id in ("raised", "suspended", "terminated"):
        rig.start(collect, 2, id, start_at=due)
        rig.send(id, 1)
    rig.client.suspend_orchestration("suspended")
    rig.client.terminate_orchestration("terminated", output="never")
    state = rig.end("terminated")
    assert (state.runtime_status, state.get_output()) == (TERMINATED, "never")
    assert "ExecutionStarted" not in rig.events("terminated")
    rig.send("raised", 2)
    assert rig.output("raised") == [1, 2]
    assert rig.history("raised", history.ExecutionStartedEvent)[0].timestamp >= due
    rig.reached("suspended", SUSPENDED)
    rig.send("suspended", 2)
    rig.client.resume_orchestration("suspended")
    assert rig.output("suspended") == [1, 2]


def test_tags_and_version_are_in_state_and_history(rig: Rig) -> None:
    rig.work(echo)
    id = rig.start(echo, {"a": [1, None, "ä"]}, tags={"who": "me"}, version="1.2")
    assert rig.output(id) == {"a": [1, None, "ä"]}
    state = rig.stub.GetInstance(pb.GetInstanceRequest(instanceId=id)).orchestrationState
    assert (dict(state.tags), state.version.value) == ({"who": "me"}, "1.2")
    assert [state.HasField(name) for name in ("input", "output")] == [False, False]  # not asked for
    (started,) = rig.history(id, history.ExecutionStartedEvent)
    assert (started.tags, started.version, started.name) == ({"who": "me"}, "1.2", "echo")


def test_queries_filter_and_page(rig: Rig) -> None:
    rig.work(echo, failing, collect)
    for number in range(5):
        rig.end(rig.start(echo, number, f"a{9 - number}"))
    rig.end(rig.start(failing, "fly", "a%"))  # a prefix is no pattern
    middle = datetime.now(UTC)
    rig.start(collect, 1, "b")
    rig.reached("b")

    def ids(**query: Any) -> list[str]:
        found = rig.client.get_all_orchestration_states(OrchestrationQuery(**query))
        return [state.instance_id for state in found]

    everything = ["a9", "a8", "a7", "a6", "a5", "a%", "b"]
    assert ids() == ids(max_instance_count=2) == ids(max_instance_count=None) == everything
    assert ids(instance_id_prefix="a%") == ["a%"]
    assert ids(instance_id_prefix="a", max_instance_count=1) == everything[:-1]
    assert ids(runtime_status=[FAILED, RUNNING]) == ["a%", "b"]
    assert ids(created_time_from=middle) == ["b"]
    assert ids(created_time_to=middle, runtime_status=[COMPLETED]) == everything[:5]
    assert ids(created_time_from=middle, created_time_to=middle) == []
    query = OrchestrationQuery(runtime_status=[FAILED], fetch_inputs_and_outputs=True)
    (state,) = rig.client.get_all_orchestration_states(query)
    assert state.failure_details
    assert (state.get_input(), state.failure_details.message) == ("fly", "cannot fly")

    # Those that have ended, by the time when
    everything.remove("b")
    pages: list[str] = []
    token: str | None = None
    while token or not pages:
        page = rig.client.list_instance_ids(page_size=2, continuation_token=token)
        assert len(page.items) <= 2
        pages, token = [*pages, *page.items], page.continuation_token
    assert pages == rig.client.list_instance_ids().items == everything
    assert rig.client.list_instance_ids(runtime_status=[FAILED]).items == ["a%"]
    assert rig.client.list_instance_ids(completed_time_from=middle).items == []
    assert rig.client.list_instance_ids(completed_time_to=middle).items == everything


def test_suspend_holds_back_and_resume_delivers_in_order(rig: Rig) -> None:
    rig.work(collect)
    id = rig.start(collect, 3)
    rig.reached(id)
    rig.client.suspend_orchestration(id, reason="lunch")
    rig.reached(id, SUSPENDED)
    for number in range(3):
        rig.send(id, number)
    rig.client.suspend_orchestration(id)  # once is enough
    rig.end(rig.start(collect, 0))
    assert (rig.status(id), rig.events(id).count("EventRaised")) == (SUSPENDED, 0)
    rig.client.resume_orchestration(id)
    assert rig.output(id) == [0, 1, 2]


@pytest.mark.parametrize("times", [1, 2])
def test_suspended_in_the_turn_of_a_continue_as_new(rig: Rig, times: int) -> None:
    """All of this is there for one turn; neither the suspension nor an event may get lost."""

    def endless(ctx: OrchestrationContext, found: list[Any]) -> Steps:
        found.append((yield ctx.wait_for_external_event("item")))
        if len(found) == 3:
            return found
        ctx.send_event("nobody", "item")
        ctx.continue_as_new(found, save_events=True)

    id = rig.start("endless", [])
    rig.send(id, 0)
    for time in range(times):
        if time:
            rig.client.resume_orchestration(id)
        rig.client.suspend_orchestration(id)
    for number in (1, 2):
        rig.send(id, number)
    rig.work(endless)
    rig.reached(id, SUSPENDED)
    rig.client.resume_orchestration(id)
    assert rig.output(id) == [0, 1, 2]


def test_terminate_needs_no_worker_and_tells_the_parent(rig: Rig) -> None:
    worker = rig.work(collect, parent)
    for id in ("all", "one", "child"):
        rig.start(parent, f"of-{id}", id)
        rig.reached(f"of-{id}")
    worker.stop()
    rig.start(collect, 1, "pending")
    rig.client.terminate_orchestration("pending")
    rig.client.terminate_orchestration("all", output={"why": "enough"})
    rig.client.terminate_orchestration("one", recursive=False)
    rig.client.terminate_orchestration("of-child")
    rig.client.terminate_orchestration("unknown")
    assert {rig.end(id).runtime_status for id in ("pending", "all", "of-all", "one", "of-child")} == {TERMINATED}
    for id in ("all", "of-one"):
        rig.send(id, "later")
    rig.client.terminate_orchestration("all", output="twice")
    assert rig.end("all").get_output() == {"why": "enough"}
    worker.start()
    assert rig.output("of-one") == ["later"]
    assert rig.output("child").startswith("failed: ")


def test_restart_with_a_new_and_with_the_same_id(rig: Rig) -> None:
    rig.work(collect)
    id = rig.start(collect, 1, tags={"a": "b"}, version="7")
    assert code_of(lambda: rig.client.restart_orchestration(id)) is grpc.StatusCode.FAILED_PRECONDITION
    other = rig.client.restart_orchestration(id, restart_with_new_instance_id=True)  # which leaves alone what runs
    rig.send(id, "first")
    rig.end(id)
    new = rig.client.restart_orchestration(id, restart_with_new_instance_id=True)
    assert new != rig.client.restart_orchestration(id) == id
    for again in (id, new, other):
        rig.send(again, again)
        assert rig.output(again) == [again]
        (started,) = rig.history(again, history.ExecutionStartedEvent)
        assert (started.tags, started.version, started.name) == ({"a": "b"}, "7", "collect")


def test_purge_of_one_with_and_without_its_children(rig: Rig) -> None:
    rig.work(collect, parent)
    for id in ("a", "b"):
        rig.start(parent, f"of-{id}", id)
        rig.reached(f"of-{id}")
        assert rig.client.purge_orchestration(id).deleted_instance_count == 0  # it runs
        rig.send(f"of-{id}")
        rig.end(id)
    assert rig.client.purge_orchestration("a").deleted_instance_count == 2
    assert rig.client.purge_orchestration("b", recursive=False).deleted_instance_count == 1
    assert [rig.status(id) for id in ("a", "of-a", "b", "of-b")] == [None, None, None, COMPLETED]


def test_purge_by_filter_with_a_timeout(rig: Rig) -> None:
    rig.start(collect, 1, "old")
    middle = datetime.now(UTC)
    rig.start(collect, 1, "runs")
    ids = [rig.start(collect, 1) for _ in range(150)]  # more than are purged in no time
    for id in ["old", *ids]:
        rig.client.terminate_orchestration(id)
    counts: list[int] = []
    complete: bool | None = False
    while not complete:
        moment = timedelta(microseconds=1)
        found = rig.client.purge_orchestrations_by(middle, runtime_status=[TERMINATED], timeout=moment)
        assert found.deleted_instance_count or found.is_complete
        complete = found.is_complete
        counts.append(found.deleted_instance_count)
    assert (sum(counts), len(counts) > 1) == (150, True)
    assert (rig.status("old"), rig.status("runs")) == (TERMINATED, PENDING)
    assert rig.client.purge_orchestrations_by(created_time_to=middle).deleted_instance_count == 1


def test_what_does_not_exist_is_said_so(rig: Rig) -> None:
    calls = rig.client
    assert calls.get_orchestration_state("no") is None
    assert calls.purge_orchestration("no").deleted_instance_count == 0
    for call in (
        calls.suspend_orchestration, calls.resume_orchestration, calls.restart_orchestration,
        calls.rewind_orchestration, calls.get_orchestration_history, rig.send,
    ):  # fmt: skip
        assert code_of(lambda call=call: call("no")) is grpc.StatusCode.NOT_FOUND
    for wait in (calls.wait_for_orchestration_start, calls.wait_for_orchestration_completion):
        with pytest.raises(TimeoutError):
            wait("no", timeout=0.1)
    rig.stub.CreateTaskHub(pb.CreateTaskHubRequest())
    assert code_of(lambda: rig.stub.DeleteTaskHub(pb.DeleteTaskHubRequest())) is grpc.StatusCode.UNIMPLEMENTED
    assert code_of(lambda: rig.start("x", id="@an@entity")) is grpc.StatusCode.INVALID_ARGUMENT


def test_a_second_start_and_a_reset(tmp_path: Path) -> None:
    hub = TaskHub(tmp_path / "hub.db")
    for expected in (None, PENDING, None):
        with Rig(tmp_path, hub.start()) as rig:
            assert rig.status("x") is expected
            rig.start(collect, 1, "x", reuse_id_policy=pb.OrchestrationIdReusePolicy(replaceableStatus=[PENDING.value]))
        if expected is PENDING:
            hub.reset()
        hub.stop()
