"""What workers report, each function within one transaction: an orchestration's turn, an activity's result."""

from collections.abc import Collection, Iterable

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from embedded.taskhub import entities, instances
from embedded.taskhub.database import Transaction
from embedded.taskhub.dispatch import Lease
from embedded.taskhub.inbox import ENDED, Late, consume, deliver, event, given, post
from embedded.taskhub.wire import Refused

OUTLIVE_EXECUTION = ("eventRaised", "executionSuspended", "executionResumed")
"""Kinds of events that continue-as-new keeps; the others answer what the ended execution had asked."""

FAILURES = ("taskFailed", "subOrchestrationInstanceFailed")
COMPLETED = "subOrchestrationInstanceCompleted"

type State = pb.OrchestrationState


def complete(tx: Transaction, lease: Lease, response: pb.OrchestratorResponse) -> None:
    """Keep what became of the events delivered. Raises Late."""
    id = str(lease.key)
    state = instances.load(tx, id)
    if state is None or state.executionId.value != lease.execution or state.orchestrationStatus in ENDED:
        raise Late  # purged, replaced or terminated meanwhile
    consume(tx, lease.delivered)
    if response.HasField("customStatus"):
        state.customStatus.CopyFrom(response.customStatus)
    if state.orchestrationStatus == pb.ORCHESTRATION_STATUS_PENDING:
        state.orchestrationStatus = pb.ORCHESTRATION_STATUS_RUNNING
    episode = list(lease.delivered.values())
    suspension: list[pb.HistoryEvent] = []
    for each in episode:
        if each.HasField("executionSuspended"):
            state.orchestrationStatus, suspension = pb.ORCHESTRATION_STATUS_SUSPENDED, [each]
        elif each.HasField("executionResumed"):
            state.orchestrationStatus, suspension = pb.ORCHESTRATION_STATUS_RUNNING, []
    ending: instances.Ending | None = None
    for action in response.actions:
        if action.HasField("completeOrchestration"):
            ending = action.completeOrchestration
        elif action.HasField("rewindOrchestration"):
            return _rewrite_history(tx, state, action.rewindOrchestration.newHistory)
        else:
            episode.extend(_act(tx, state, action))
    if ending is None:
        completed = event(tx.now, orchestratorCompleted=pb.OrchestratorCompletedEvent())
        instances.append_history(tx, id, [*episode, completed])
        instances.save(tx, state)
    elif ending.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW:
        _continue_as_new(tx, state, ending, [*suspension, *ending.carryoverEvents])
    else:
        instances.end(tx, state, ending, episode)
    return None


def complete_activity(tx: Transaction, lease: Lease, response: pb.ActivityResponse) -> None:
    """Keep an activity's result. Raises Late."""
    scheduled = tx.execute("DELETE FROM activities WHERE seq = ? RETURNING request", (lease.key,)).fetchone()
    if scheduled is None:
        raise Late
    request = pb.ActivityRequest.FromString(scheduled[0])
    if response.HasField("failureDetails"):
        failed = pb.TaskFailedEvent(taskScheduledId=request.taskId, failureDetails=response.failureDetails)
        message = event(tx.now, taskFailed=failed)
    else:
        done = pb.TaskCompletedEvent(taskScheduledId=request.taskId, **given(response, "result"))
        message = event(tx.now, taskCompleted=done)
    instance = request.orchestrationInstance
    deliver(tx, instance.instanceId, message, instance.executionId.value)


def _act(tx: Transaction, state: State, action: pb.OrchestratorAction) -> list[pb.HistoryEvent]:
    """Do what a turn asked for; returns what its history shall say of it."""
    match action.WhichOneof("orchestratorActionType"):
        case "scheduleTask":
            done = {"taskScheduled": _schedule_activity(tx, state, action.id, action.scheduleTask)}
        case "createTimer":
            done = {"timerCreated": _create_timer(tx, state, action.id, action.createTimer.fireAt)}
        case "createSubOrchestration":
            child = action.createSubOrchestration
            done = {"subOrchestrationInstanceCreated": _start_child(tx, state, action.id, child)}
        case "sendEvent":
            done = {"eventSent": _send_event(tx, action.sendEvent)}
        case "sendEntityMessage":
            done = entities.send(tx, state, action.sendEntityMessage)
        case "terminateOrchestration":
            other = action.terminateOrchestration
            details = given(other, output="reason")
            instances.terminate(
                tx, pb.TerminateRequest(instanceId=other.instanceId, recursive=other.recurse, **details)
            )
            return []
        case unknown:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"this hub does not know the action {unknown}")
    return [event(tx.now, action.id, **done)]


def _schedule_activity(tx: Transaction, state: State, id: int, task: pb.ScheduleTaskAction) -> pb.TaskScheduledEvent:
    details = given(task, "version", "input", "parentTraceContext")
    instance = pb.OrchestrationInstance(instanceId=state.instanceId, executionId=state.executionId)
    request = pb.ActivityRequest(name=task.name, taskId=id, orchestrationInstance=instance, tags=task.tags, **details)
    row = (task.name, task.version.value, request.SerializeToString())
    cursor = tx.execute("INSERT INTO activities (name, version, request) VALUES (?, ?, ?)", row)
    tx.activities.append((cursor.lastrowid or 0, task.name, task.version.value))
    return pb.TaskScheduledEvent(name=task.name, tags=task.tags, **details)


def _create_timer(tx: Transaction, state: State, id: int, fire_at: Timestamp) -> pb.TimerCreatedEvent:
    due = fire_at.ToMicroseconds()
    fired = pb.TimerFiredEvent(fireAt=fire_at, timerId=id)
    post(tx, state.instanceId, event(max(due, tx.now), timerFired=fired), due)
    return pb.TimerCreatedEvent(fireAt=fire_at)


def _start_child(
    tx: Transaction, state: State, id: int, child: pb.CreateSubOrchestrationAction
) -> pb.SubOrchestrationInstanceCreatedEvent:
    details = given(child, "version", "input", "parentTraceContext")
    request = pb.CreateInstanceRequest(instanceId=child.instanceId, name=child.name, tags=child.tags, **details)
    instance = pb.OrchestrationInstance(instanceId=state.instanceId, executionId=state.executionId)
    name = StringValue(value=state.name)
    child_id = child.instanceId
    try:
        parent = pb.ParentInstanceInfo(taskScheduledId=id, name=name, orchestrationInstance=instance)
        child_id = instances.create(tx, request, parent)
    except Refused as error:
        failure = pb.TaskFailureDetails(errorType=error.code.name, errorMessage=str(error))
        failed = pb.SubOrchestrationInstanceFailedEvent(taskScheduledId=id, failureDetails=failure)
        post(tx, state.instanceId, event(tx.now, subOrchestrationInstanceFailed=failed))
    return pb.SubOrchestrationInstanceCreatedEvent(instanceId=child_id, name=child.name, tags=child.tags, **details)


def _send_event(tx: Transaction, sent: pb.SendEventAction) -> pb.EventSentEvent:
    data = given(sent, input="data")
    target = sent.instance.instanceId
    deliver(tx, target, event(tx.now, eventRaised=pb.EventRaisedEvent(name=sent.name, **data)))
    return pb.EventSentEvent(instanceId=target, name=sent.name, **data)


def _continue_as_new(
    tx: Transaction, state: State, ending: instances.Ending, carried: Iterable[pb.HistoryEvent]
) -> None:
    id = state.instanceId
    kept = tx.execute("SELECT kind, event FROM inbox WHERE target = ? ORDER BY seq", (id,)).fetchall()
    parent = instances.parent_of(tx, id)
    instances.remove(tx, id)
    state.ClearField("input")
    for field, value in given(ending, input="result", version="newVersion").items():
        getattr(state, field).CopyFrom(value)
    instances.begin(tx, state, parent)
    for each in carried:
        post(tx, id, each)
    for kind, message in kept:
        if kind in OUTLIVE_EXECUTION:
            post(tx, id, pb.HistoryEvent.FromString(message))


def _rewrite_history(tx: Transaction, state: State, history: Collection[pb.HistoryEvent]) -> None:
    """Go on from the `history` that a worker has rewound: it is without what had failed, which is done again."""
    id = state.instanceId
    late = f"DELETE FROM inbox WHERE target = ? AND kind IN {FAILURES} RETURNING event"
    failures = [pb.HistoryEvent.FromString(message) for (message,) in tx.execute(late, (id,)).fetchall()]
    failed = {each.taskFailed.taskScheduledId for each in failures if each.HasField("taskFailed")}
    history = [each for each in history if not (each.HasField("taskScheduled") and each.eventId in failed)]
    tx.execute("DELETE FROM history WHERE instance = ?", (id,))
    instances.append_history(tx, id, history)
    instances.run_again(tx, state)
    post(tx, id, event(tx.now, orchestratorStarted=pb.OrchestratorStartedEvent()))
    (reason,) = [given(each.executionRewound, "reason") for each in history if each.HasField("executionRewound")][-1:]
    completed = [each.subOrchestrationInstanceCompleted for each in history if each.HasField(COMPLETED)]
    done = {each.taskScheduledId for each in completed}
    for each in history:
        if not each.HasField("subOrchestrationInstanceCreated") or each.eventId in done:
            continue
        child = each.subOrchestrationInstanceCreated
        existing = instances.load(tx, child.instanceId)
        if existing is None:
            details = given(child, "version", "input")
            again = pb.CreateSubOrchestrationAction(instanceId=child.instanceId, name=child.name, **details)
            _start_child(tx, state, each.eventId, again)
        elif existing.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED:
            instances.rewind(tx, pb.RewindInstanceRequest(instanceId=child.instanceId, **reason))
