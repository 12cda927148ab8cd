"""What happens to an entity, each function within one transaction."""

import logging
from typing import Any
from uuid import uuid4

from durabletask.internal import orchestrator_service_pb2 as pb

from embedded.taskhub import instances, locks
from embedded.taskhub.database import Transaction
from embedded.taskhub.dispatch import Lease
from embedded.taskhub.inbox import consume, deliver, event, given, post
from embedded.taskhub.wire import Refused

logger = logging.getLogger(__name__)


def signal(tx: Transaction, request: pb.SignalEntityRequest) -> None:
    """Tell an entity something and expect no answer."""
    told = pb.EntityOperationSignaledEvent(
        requestId=request.requestId or uuid4().hex, operation=request.name, **given(request, "input", "scheduledTime")
    )
    told.targetInstanceId.value = request.instanceId
    _operate(tx, told, None, entityOperationSignaled=told)


def send(tx: Transaction, state: pb.OrchestrationState, message: pb.SendEntityMessageAction) -> dict[str, Any]:
    """What an orchestration asks of entities; returns the event for its history."""
    kind = str(message.WhichOneof("EntityMessageType"))
    asked: Any = getattr(message, kind)
    match kind:
        case "entityOperationSignaled":
            _operate(tx, asked, None, entityOperationSignaled=asked)
        case "entityOperationCalled":
            asked.parentInstanceId.value = state.instanceId
            asked.parentExecutionId.value = state.executionId.value
            _operate(tx, asked, state.instanceId, entityOperationCalled=asked)
        case "entityLockRequested":
            locks.request(tx, state.instanceId, state.executionId.value, asked)
        case _:
            locks.release(tx, asked.targetInstanceId.value, asked.criticalSectionId)
    return {kind: asked}


def complete(tx: Transaction, lease: Lease, result: pb.EntityBatchResult) -> None:
    """Keep what became of the operations delivered; those not come to are delivered again. Raises Late."""
    id, delivered = str(lease.key), lease.delivered
    if result.HasField("failureDetails"):
        failure = pb.OperationResult(failure=pb.OperationResultFailure(failureDetails=result.failureDetails))
        answers = [failure] * len(delivered)
    else:
        state = result.entityState.value if result.HasField("entityState") else None
        tx.execute("UPDATE entities SET state = ?, modified = ? WHERE id = ?", (state, tx.now, id))
        answers = list(result.results)
    consume(tx, dict(list(delivered.items())[: len(answers)]))
    for operation, answer in zip(delivered.values(), answers, strict=False):
        if operation.HasField("entityOperationCalled"):
            _answer(tx, operation.entityOperationCalled, answer)
    for action in result.actions:
        if action.HasField("sendSignal"):
            sent = action.sendSignal
            details = given(sent, "input", "scheduledTime")
            signal(tx, pb.SignalEntityRequest(instanceId=sent.instanceId, name=sent.name, **details))
        elif action.HasField("startNewOrchestration"):
            _start_orchestration(tx, id, action.startNewOrchestration)


def clean(tx: Transaction, request: pb.CleanEntityStorageRequest) -> pb.CleanEntityStorageResponse:
    released = locks.release_orphaned(tx) if request.releaseOrphanedLocks else 0
    removed = 0
    if request.removeEmptyEntities:
        empty = "state IS NULL AND owner IS NULL AND NOT EXISTS (SELECT 1 FROM inbox WHERE target = entities.id)"
        removed = tx.execute(f"DELETE FROM entities WHERE {empty}").rowcount
    return pb.CleanEntityStorageResponse(emptyEntitiesRemoved=removed, orphanedLocksReleased=released)


def purge(tx: Transaction, id: str) -> int:
    tx.execute("DELETE FROM inbox WHERE target = ?", (id,))
    return tx.execute("DELETE FROM entities WHERE id = ?", (id,)).rowcount


def _operate(tx: Transaction, operation: Any, sender: str | None, **kind: Any) -> None:
    due = operation.scheduledTime.ToMicroseconds() if operation.HasField("scheduledTime") else 0
    locks.ensure(tx, operation.targetInstanceId.value)
    post(tx, operation.targetInstanceId.value, event(max(due, tx.now), **kind), due, sender)


def _answer(tx: Transaction, call: pb.EntityOperationCalledEvent, answer: pb.OperationResult) -> None:
    if answer.HasField("failure"):
        failed = pb.EntityOperationFailedEvent(requestId=call.requestId, failureDetails=answer.failure.failureDetails)
        message = event(tx.now, entityOperationFailed=failed)
    else:
        details = given(answer.success, output="result")
        done = pb.EntityOperationCompletedEvent(requestId=call.requestId, **details)
        message = event(tx.now, entityOperationCompleted=done)
    deliver(tx, call.parentInstanceId.value, message, call.parentExecutionId.value)


def _start_orchestration(tx: Transaction, id: str, new: pb.StartNewOrchestrationAction) -> None:
    details = given(new, "version", "input", scheduledStartTimestamp="scheduledTime")
    try:
        instances.create(tx, pb.CreateInstanceRequest(instanceId=new.instanceId, name=new.name, **details))
    except Refused as error:
        logger.warning("entity %s: %s", id, error)  # the entity cannot be told
