"""The life of an orchestration but for its turns, each function within one transaction."""

from collections.abc import Iterable
from uuid import uuid4

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.wrappers_pb2 import StringValue

from embedded.taskhub import locks
from embedded.taskhub.database import Transaction
from embedded.taskhub.inbox import DONE, ENDED, deliver, event, given, post, stamp
from embedded.taskhub.wire import Refused

type Ending = pb.CompleteOrchestrationAction


def load(tx: Transaction, id: str) -> pb.OrchestrationState | None:
    row = tx.execute("SELECT state FROM instances WHERE id = ?", (id,)).fetchone()
    return pb.OrchestrationState.FromString(row[0]) if row else None


def find(tx: Transaction, id: str) -> pb.OrchestrationState:
    """Raises Refused when there is none."""
    if (state := load(tx, id)) is None:
        raise Refused(grpc.StatusCode.NOT_FOUND, f"Orchestration instance '{id}' not found")
    return state


def create(tx: Transaction, request: pb.CreateInstanceRequest, parent: pb.ParentInstanceInfo | None = None) -> str:
    """A new orchestration, which starts now or when it is scheduled; returns its id. Raises Refused: the id is taken.

    As the Durable extension does, an instance that has ended makes room for another unless the request says otherwise.
    """
    id = request.instanceId or uuid4().hex
    if id.startswith("@"):
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"'{id}' would be an entity; an orchestration's id has no '@'")
    existing = load(tx, id)
    if existing is not None:
        if existing.orchestrationStatus not in (request.orchestrationIdReusePolicy.replaceableStatus or ENDED):
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Orchestration instance '{id}' already exists")
        remove(tx, id)
    state = pb.OrchestrationState(
        instanceId=id, name=request.name, tags=request.tags, createdTimestamp=stamp(tx.now),
        **given(request, "version", "input", "scheduledStartTimestamp"),
    )  # fmt: skip
    if parent is not None:
        state.parentInstanceId.value = parent.orchestrationInstance.instanceId
    begin(tx, state, parent, request)
    return id


def begin(
    tx: Transaction,
    state: pb.OrchestrationState,
    parent: pb.ParentInstanceInfo | None,
    request: pb.CreateInstanceRequest | None = None,
) -> None:
    """A new execution: its row, and its first event in the inbox."""
    due = request.scheduledStartTimestamp.ToMicroseconds() if request else 0
    state.orchestrationStatus = pb.ORCHESTRATION_STATUS_PENDING
    state.executionId.value = uuid4().hex
    state.lastUpdatedTimestamp.CopyFrom(stamp(tx.now))
    asking = parent.orchestrationInstance if parent else None
    tx.execute(
        "INSERT OR REPLACE INTO instances (id, execution, name, version, status, created, scheduled, parent,"
        " parent_execution, parent_task, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(state.instanceId, state.executionId.value, state.name, state.version.value, state.orchestrationStatus),
            *(state.createdTimestamp.ToMicroseconds(), due, asking and asking.instanceId),
            *(asking and asking.executionId.value, parent and parent.taskScheduledId, state.SerializeToString()),
        ),
    )
    started = pb.ExecutionStartedEvent(
        name=state.name, parentInstance=parent, tags=state.tags,
        orchestrationInstance=pb.OrchestrationInstance(instanceId=state.instanceId, executionId=state.executionId),
        **given(state, "version", "input"),
        **(given(request, "scheduledStartTimestamp", "parentTraceContext") if request else {}),
    )  # fmt: skip
    post(tx, state.instanceId, event(max(tx.now, due), executionStarted=started), due)


def parent_of(tx: Transaction, id: str) -> pb.ParentInstanceInfo | None:
    parent, execution, task = tx.execute(
        "SELECT parent, parent_execution, parent_task FROM instances WHERE id = ?", (id,)
    ).fetchone()
    if parent is None:
        return None
    instance = pb.OrchestrationInstance(instanceId=parent, executionId=StringValue(value=execution))
    return pb.ParentInstanceInfo(taskScheduledId=task, orchestrationInstance=instance)


def save(tx: Transaction, state: pb.OrchestrationState) -> None:
    state.lastUpdatedTimestamp.CopyFrom(stamp(tx.now))
    completed = state.completedTimestamp.ToMicroseconds() if state.HasField("completedTimestamp") else None
    tx.execute(
        "UPDATE instances SET status = ?, completed = ?, state = ? WHERE id = ?",
        (state.orchestrationStatus, completed, state.SerializeToString(), state.instanceId),
    )
    tx.touched.add(state.instanceId)


def append_history(tx: Transaction, id: str, events: Iterable[pb.HistoryEvent]) -> None:
    part = pb.OrchestratorRequest(pastEvents=events).SerializeToString()
    tx.execute("INSERT INTO history (instance, events) VALUES (?, ?)", (id, part))


def end(tx: Transaction, state: pb.OrchestrationState, ending: Ending, episode: Iterable[pb.HistoryEvent]) -> None:
    """Its last turn; who had started it as a sub-orchestration is told."""
    id = state.instanceId
    details = given(ending, "failureDetails", "result")
    completed = pb.ExecutionCompletedEvent(orchestrationStatus=ending.orchestrationStatus, **details)
    bookends = (
        event(tx.now, orchestratorCompleted=pb.OrchestratorCompletedEvent()),
        event(tx.now, executionCompleted=completed),
    )
    append_history(tx, id, [*episode, *bookends])
    state.orchestrationStatus = ending.orchestrationStatus
    state.completedTimestamp.CopyFrom(stamp(tx.now))
    state.MergeFrom(pb.OrchestrationState(**given(ending, "failureDetails", output="result")))
    save(tx, state)
    if state.orchestrationStatus in DONE:
        tx.execute("DELETE FROM inbox WHERE target = ?", (id,))
    locks.forget_owner(tx, id)
    if parent := parent_of(tx, id):
        asking = parent.orchestrationInstance
        deliver(tx, asking.instanceId, _answer(tx, state, parent.taskScheduledId), asking.executionId.value)


def _answer(tx: Transaction, state: pb.OrchestrationState, task: int) -> pb.HistoryEvent:
    if state.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED:
        done = pb.SubOrchestrationInstanceCompletedEvent(taskScheduledId=task, **given(state, result="output"))
        return event(tx.now, subOrchestrationInstanceCompleted=done)
    failure = pb.TaskFailureDetails(errorType="Terminated", errorMessage=f"'{state.instanceId}' was terminated")
    if state.HasField("failureDetails"):
        failure = state.failureDetails
    failed = pb.SubOrchestrationInstanceFailedEvent(taskScheduledId=task, failureDetails=failure)
    return event(tx.now, subOrchestrationInstanceFailed=failed)


def raise_event(tx: Transaction, request: pb.RaiseEventRequest) -> None:
    raised = pb.EventRaisedEvent(name=request.name, **given(request, "input"))
    if not deliver(tx, request.instanceId, event(tx.now, eventRaised=raised)):
        find(tx, request.instanceId)  # one that has ended takes no notice


def suspend(tx: Transaction, request: pb.SuspendRequest) -> None:
    if find(tx, request.instanceId).orchestrationStatus != pb.ORCHESTRATION_STATUS_SUSPENDED:
        suspended = pb.ExecutionSuspendedEvent(**given(request, input="reason"))
        deliver(tx, request.instanceId, event(tx.now, executionSuspended=suspended))


def resume(tx: Transaction, request: pb.ResumeRequest) -> None:
    find(tx, request.instanceId)
    resumed = pb.ExecutionResumedEvent(**given(request, input="reason"))
    deliver(tx, request.instanceId, event(tx.now, executionResumed=resumed))


def terminate(tx: Transaction, request: pb.TerminateRequest) -> None:
    """End it here and now: no worker is needed for that, and what one is about to report comes too late."""
    state = load(tx, request.instanceId)
    if state is None:
        return
    if state.orchestrationStatus not in ENDED:
        terminated = pb.ExecutionTerminatedEvent(**given(request, input="output"))
        ending = pb.CompleteOrchestrationAction(
            orchestrationStatus=pb.ORCHESTRATION_STATUS_TERMINATED, **given(request, result="output")
        )
        end(tx, state, ending, [event(tx.now, executionTerminated=terminated)])
    if request.recursive:
        for child in _children(tx, request.instanceId):
            terminate(tx, pb.TerminateRequest(instanceId=child, recursive=True, **given(request, "output")))


def purge(tx: Transaction, id: str, recursive: bool) -> int:
    """How many instances were removed: none while this one runs."""
    state = load(tx, id)
    if state is None or state.orchestrationStatus not in ENDED:
        return 0
    below = sum(purge(tx, child, recursive) for child in _children(tx, id)) if recursive else 0
    remove(tx, id)
    return below + 1


def remove(tx: Transaction, id: str) -> None:
    for table, column in (("instances", "id"), ("history", "instance"), ("inbox", "target")):
        tx.execute(f"DELETE FROM {table} WHERE {column} = ?", (id,))
    locks.forget_owner(tx, id)
    tx.touched.add(id)


def restart(tx: Transaction, request: pb.RestartInstanceRequest) -> pb.RestartInstanceResponse:
    """Start an orchestration with the input of another, or again when it has ended."""
    state = find(tx, request.instanceId)
    fresh = request.restartWithNewInstanceId
    if not fresh and state.orchestrationStatus not in ENDED:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"Orchestration instance '{request.instanceId}' still runs")
    again = pb.CreateInstanceRequest(
        instanceId="" if fresh else request.instanceId,
        name=state.name, tags=state.tags, **given(state, "version", "input"),
    )  # fmt: skip
    return pb.RestartInstanceResponse(instanceId=create(tx, again))


def rewind(tx: Transaction, request: pb.RewindInstanceRequest) -> None:
    """Let a failed orchestration replay; its worker then answers with the history to go on from."""
    state = find(tx, request.instanceId)
    if state.orchestrationStatus != pb.ORCHESTRATION_STATUS_FAILED:
        message = f"Orchestration instance '{request.instanceId}' has not failed, so there is nothing to rewind"
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, message)
    run_again(tx, state)
    rewound = pb.ExecutionRewoundEvent(**given(request, "reason"))
    post(tx, request.instanceId, event(tx.now, executionRewound=rewound))


def run_again(tx: Transaction, state: pb.OrchestrationState) -> None:
    for field in ("output", "failureDetails", "completedTimestamp"):
        state.ClearField(field)
    state.orchestrationStatus = pb.ORCHESTRATION_STATUS_RUNNING
    save(tx, state)


def _children(tx: Transaction, id: str) -> list[str]:
    return [child for (child,) in tx.execute("SELECT id FROM instances WHERE parent = ?", (id,)).fetchall()]
