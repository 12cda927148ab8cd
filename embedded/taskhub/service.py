"""The Durable Task gRPC protocol, spoken for one file."""

import logging
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BoolValue, StringValue

from embedded.taskhub import entities, instances, queries, turns
from embedded.taskhub.database import Database, Transaction, now_us
from embedded.taskhub.dispatch import Dispatcher, Kind, Lease
from embedded.taskhub.inbox import ENDED, Late, Refused, event

logger = logging.getLogger(__name__)

LONGEST_SLEEP = 5.0  # the clock may be set, or the machine be suspended, while we sleep
RETRY_SECONDS = 1.0  # until work is offered again that was given back, or whose report could not be kept
PURGE_AT_ONCE = 100  # instances to a transaction

BEGINNINGS = ("executionStarted", "orchestratorStarted")
READY = f"""
SELECT name, version, execution FROM instances AS i WHERE id = :id AND status NOT IN {ENDED} AND scheduled <= :now
AND EXISTS (SELECT 1 FROM inbox WHERE target = i.id AND due <= :now
            AND (i.status != {pb.ORCHESTRATION_STATUS_SUSPENDED} OR kind = 'executionResumed'))
"""
TURN = """
SELECT 0, id, events FROM history WHERE instance = :id
UNION ALL SELECT 1, seq, event FROM inbox WHERE target = :id AND due <= :now ORDER BY 1, 2
"""
OPERATIONS = """
SELECT inbox.seq, inbox.event, entities.state FROM inbox JOIN entities ON entities.id = inbox.target
WHERE inbox.target = :id AND inbox.due <= :now
AND (entities.owner IS NULL OR (inbox.seq <= entities.locked_at AND inbox.due = 0) OR inbox.sender = entities.owner)
ORDER BY inbox.seq LIMIT 500
"""


def _reads(query: Callable[[queries.Read, Any], Any]) -> Any:
    def call(self: "Service", request: Any, context: Any) -> Any:
        answer = query(self.database.read, request)
        self.database.settle()
        return answer

    return call


def _writes(operation: Callable[[Transaction, Any], Any]) -> Any:
    def call(self: "Service", request: Any, context: Any) -> Any:
        return self.write(context, lambda tx: operation(tx, request))

    return call


def _reports(keep: Callable[[Transaction, Lease, Any], None]) -> Any:
    def call(self: "Service", request: Any, context: Any) -> Any:
        return self.report(request, context, keep)

    return call


def _abandons(answer: Callable[[], Any]) -> Any:
    def call(self: "Service", request: Any, context: Any) -> Any:
        self.give_back(request.completionToken)
        return answer()

    return call


class Service(stubs.TaskHubSidecarServiceServicer):
    """The hub itself. Raises StartError when the file cannot be used."""

    RaiseEvent = _writes(instances.raise_event)
    SuspendInstance = _writes(instances.suspend)
    ResumeInstance = _writes(instances.resume)
    TerminateInstance = _writes(instances.terminate)
    SkipGracefulOrchestrationTerminations = _writes(instances.skip_graceful_terminations)
    RestartInstance = _writes(instances.restart)
    RewindInstance = _writes(instances.rewind)
    SignalEntity = _writes(entities.signal)
    CleanEntityStorage = _writes(entities.clean)
    GetInstance = _reads(queries.get_instance)
    QueryInstances = _reads(queries.query_instances)
    ListInstanceIds = _reads(queries.list_ids)
    GetEntity = _reads(queries.get_entity)
    QueryEntities = _reads(queries.query_entities)
    CompleteOrchestratorTask = _reports(turns.complete)
    CompleteActivityTask = _reports(turns.complete_activity)
    CompleteEntityTask = _reports(entities.complete)
    AbandonTaskOrchestratorWorkItem = _abandons(pb.AbandonOrchestrationTaskResponse)
    AbandonTaskActivityWorkItem = _abandons(pb.AbandonActivityTaskResponse)
    AbandonTaskEntityWorkItem = _abandons(pb.AbandonEntityTaskResponse)

    def __init__(self, path: Path, default_version: str | None = None) -> None:
        self._path = path
        self._default_version = default_version
        self._dispatcher = Dispatcher()
        self._waiting: defaultdict[str, set[threading.Event]] = defaultdict(set)
        self._waiting_lock = threading.Lock()
        self._closed = False
        self._due_seen = now_us()
        self._due_changed = threading.Event()
        self.database = Database(path, self._committed, self._synced)
        for seq, name, version in self.database.read("SELECT seq, name, version FROM activities ORDER BY seq"):
            self._dispatcher.offer(Kind.ACTIVITY, seq, (name, version))
        for (target,) in self.database.read("SELECT DISTINCT target FROM inbox WHERE due <= ?", (self._due_seen,)):
            self._look_at(target)
        self._clock = threading.Thread(target=self._watch_clock, name="task-hub-clock", daemon=True)
        self._clock.start()

    def close(self) -> None:
        self._closed = True
        self._due_changed.set()
        self._clock.join()
        self.database.close()

    def write[T](self, context: Any, operation: Callable[[Transaction], T]) -> T:
        """Answer after the commit; tell the caller why there was none."""
        try:
            return self.database.write(operation)
        except Refused as error:
            return context.abort(error.code, str(error))
        except (sqlite3.Error, OSError) as error:
            logger.error("the task hub %s could not be written: %s", self._path, error)
            message = (
                f"the task hub {self._path} could not be written ({error}), nothing of this call was kept;"
                " see that its disk has space, then call again"
            )
            return context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)

    # What becomes of a commit, and of time

    def _committed(self, transactions: list[Transaction]) -> None:
        for transaction in transactions:
            if transaction.reported is not None:
                self._dispatcher.release(transaction.reported)
        for target in {target for transaction in transactions for target in transaction.touched}:
            if not target.startswith("@"):
                self._look_at(target)  # a turn may begin: all that comes of it is written, and synced, after this

    def _synced(self, transactions: list[Transaction]) -> None:
        """What acts on the world, and who waits to be told, wait for the disk."""
        for transaction in transactions:
            for target in transaction.touched:
                if target.startswith("@"):
                    self._look_at(target)
                with self._waiting_lock:
                    for changed in self._waiting.get(target, ()):
                        changed.set()
            for seq, name, version in transaction.activities:
                self._dispatcher.offer(Kind.ACTIVITY, seq, (name, version))
        if any(transaction.delayed for transaction in transactions):
            self._due_changed.set()

    def _look_at(self, target: str) -> None:
        """Offer an orchestration or entity that has something to do. What is committed decides, nothing else."""
        kind = Kind.ENTITY if target.startswith("@") else Kind.ORCHESTRATION
        if self._dispatcher.busy(kind, target):
            return
        if kind is Kind.ENTITY:
            if self.database.read(OPERATIONS, {"id": target, "now": now_us()}):
                self._dispatcher.offer(Kind.ENTITY, target, (target.split("@")[1], ""))
        else:
            for name, version, execution in self.database.read(READY, {"id": target, "now": now_us()}):
                self._dispatcher.offer(Kind.ORCHESTRATION, target, (name, version), execution)

    def _watch_clock(self) -> None:
        """One thread for whatever falls due next."""
        while not self._closed:
            self._due_changed.clear()
            try:
                seconds = self._look_at_due()
            except sqlite3.Error:
                logger.exception("the task hub %s could not be read; timers wait", self._path)
                seconds = RETRY_SECONDS
            self._due_changed.wait(min(seconds, LONGEST_SLEEP))

    def _look_at_due(self) -> float:
        """Offer what fell due since the last time; returns the seconds until something does again."""
        now = now_us()  # which may be earlier: then some of it is looked at twice
        for (target,) in self.database.read(
            "SELECT DISTINCT target FROM inbox WHERE due > ? AND due <= ?", (self._due_seen, now)
        ):
            self._look_at(target)
        self._due_seen = now  # not before: what cannot be read now is looked at again
        ((due,),) = self.database.read("SELECT min(due) FROM inbox WHERE due > ?", (self._due_seen,))
        return LONGEST_SLEEP if due is None else (due - now_us()) / 1e6

    # Workers

    def GetWorkItems(self, request: pb.GetWorkItemsRequest, context: Any) -> Iterator[pb.WorkItem]:
        worker = self._dispatcher.join(request)
        context.add_callback(worker.work.set)
        try:
            while context.is_active():
                worker.work.clear()
                while lease := self._dispatcher.take(worker):
                    try:
                        item = self._work_item(lease)
                    except Exception:  # this one's rows are damaged; it must not hold up the others
                        logger.exception("%s %s cannot be handed out", lease.kind, lease.key)
                        self.give_back(lease.token)
                        continue
                    if item is None:
                        self._dispatcher.release(lease)  # it has ended, or is no more
                        if lease.kind is not Kind.ACTIVITY:
                            self._look_at(str(lease.key))  # at what came while it was in hand
                    else:
                        item.completionToken = lease.token
                        yield item
                worker.work.wait()
        finally:
            self._dispatcher.leave(worker)

    def _work_item(self, lease: Lease) -> pb.WorkItem | None:
        read, now, id = self.database.read, now_us(), str(lease.key)
        match lease.kind:
            case Kind.ORCHESTRATION:
                rows = read(TURN, {"id": id, "now": now})
                if not (new := [(seq, message) for is_new, seq, message in rows if is_new]):
                    return None
                lease.delivered = _in_order(new, now)
                request = pb.OrchestratorRequest(instanceId=id, newEvents=lease.delivered.values())
                request.executionId.value = lease.execution
                request.MergeFromString(b"".join(past for is_new, _, past in rows if not is_new))
                return pb.WorkItem(orchestratorRequest=request)
            case Kind.ACTIVITY:
                if not (scheduled := read("SELECT request FROM activities WHERE seq = ?", (lease.key,))):
                    return None
                lease.activity.ParseFromString(scheduled[0][0])
                return pb.WorkItem(activityRequest=lease.activity)
            case Kind.ENTITY:
                if not (rows := read(OPERATIONS, {"id": id, "now": now})):
                    return None
                self.database.settle()  # an entity may act on the world
                lease.delivered = {seq: pb.HistoryEvent.FromString(message) for seq, message, _ in rows}
                state = StringValue(value=rows[0][2]) if rows[0][2] is not None else None
                operations = lease.delivered.values()
                batch = pb.EntityRequest(instanceId=id, entityState=state, operationRequests=operations)
                return pb.WorkItem(entityRequestV2=batch)

    def report(
        self, request: Any, context: Any, keep: Callable[[Transaction, Lease, Any], None]
    ) -> pb.CompleteTaskResponse:
        lease = self._dispatcher.held(request.completionToken)
        if lease is None:
            logger.info("a report came too late: the work was given to another worker")
            return pb.CompleteTaskResponse()

        def report(tx: Transaction) -> None:
            keep(tx, lease, request)
            tx.reported = lease
            if lease.kind is not Kind.ACTIVITY:
                tx.touched.add(str(lease.key))

        try:
            self.write(context, report)
        except Late:
            logger.info("a report came too late: the work was reported on, or is no more")
            self._again(lease)
        except BaseException:
            self.give_back(lease.token)
            raise
        return pb.CompleteTaskResponse()

    def give_back(self, token: str) -> None:
        """Not at once: a worker that cannot do it now would be given it over and over."""
        if lease := self._dispatcher.held(token):
            retry = threading.Timer(RETRY_SECONDS, self._again, (lease,))
            retry.daemon = True
            retry.start()

    def _again(self, lease: Lease) -> None:
        self._dispatcher.release(lease)
        if lease.kind is Kind.ACTIVITY:
            self._dispatcher.offer(lease.kind, lease.key, lease.name)  # whoever takes it sees whether it is done
        elif not self._closed:
            self._look_at(str(lease.key))

    # Clients

    def Hello(self, request: Empty, context: Any) -> Empty:
        return Empty()

    def StartInstance(self, request: pb.CreateInstanceRequest, context: Any) -> pb.CreateInstanceResponse:
        if self._default_version and not request.version.value:
            request.version.value = self._default_version
        return self.write(context, lambda tx: instances.start(tx, request))

    def WaitForInstanceStart(self, request: pb.GetInstanceRequest, context: Any) -> pb.GetInstanceResponse:
        return self._wait(request, context, lambda status: status != pb.ORCHESTRATION_STATUS_PENDING)

    def WaitForInstanceCompletion(self, request: pb.GetInstanceRequest, context: Any) -> pb.GetInstanceResponse:
        return self._wait(request, context, lambda status: status in ENDED)

    def _wait(
        self, request: pb.GetInstanceRequest, context: Any, reached: Callable[[pb.OrchestrationStatus], bool]
    ) -> pb.GetInstanceResponse:
        """As long as the caller likes to wait."""
        changed = threading.Event()
        context.add_callback(changed.set)
        with self._waiting_lock:
            self._waiting[request.instanceId].add(changed)
        try:
            while True:
                found = queries.get_instance(self.database.read, request)
                self.database.settle()
                if (reached(found.orchestrationState.orchestrationStatus) and found.exists) or not context.is_active():
                    return found
                changed.wait()
                changed.clear()
        finally:
            with self._waiting_lock:
                self._waiting[request.instanceId].discard(changed)
                if not self._waiting[request.instanceId]:
                    del self._waiting[request.instanceId]

    def PurgeInstances(self, request: pb.PurgeInstancesRequest, context: Any) -> pb.PurgeInstancesResponse:
        def purge(ids: Iterable[str]) -> int:
            return self.write(context, lambda tx: sum(_purge(tx, id, request.recursive) for id in ids))

        if not request.HasField("purgeInstanceFilter"):
            deleted = purge([request.instanceId] if request.instanceId else request.instanceBatch.instanceIds)
            return pb.PurgeInstancesResponse(deletedInstanceCount=deleted, isComplete=BoolValue(value=True))
        chosen = request.purgeInstanceFilter
        seconds = chosen.timeout.ToTimedelta().total_seconds() if chosen.HasField("timeout") else float("inf")
        deadline = time.monotonic() + seconds
        deleted, ids = 0, queries.ended_ids(self.database.read, chosen, PURGE_AT_ONCE)
        while ids and (not deleted or time.monotonic() < deadline):
            deleted += purge(ids)
            ids = queries.ended_ids(self.database.read, chosen, PURGE_AT_ONCE)
        return pb.PurgeInstancesResponse(deletedInstanceCount=deleted, isComplete=BoolValue(value=not ids))

    def StreamInstanceHistory(
        self, request: pb.StreamInstanceHistoryRequest, context: Any
    ) -> Iterator[pb.HistoryChunk]:
        if not self.database.read("SELECT 1 FROM instances WHERE id = ?", (request.instanceId,)):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Orchestration instance '{request.instanceId}' not found")
        self.database.settle()
        return queries.history(self.database.read, request.instanceId)

    def CreateTaskHub(self, request: pb.CreateTaskHubRequest, context: Any) -> pb.CreateTaskHubResponse:
        return pb.CreateTaskHubResponse()  # it is there, or nobody would answer

    def DeleteTaskHub(self, request: pb.DeleteTaskHubRequest, context: Any) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"to delete this hub, stop its host and remove {self._path}")


def _in_order(rows: list[tuple[int, bytes]], now: int) -> dict[int, pb.HistoryEvent]:
    """What an orchestration is given next, in the order in which it came about; its start before all."""
    events = [(seq, pb.HistoryEvent.FromString(message)) for seq, message in rows]
    events.sort(
        key=lambda it: (it[1].WhichOneof("eventType") not in BEGINNINGS, it[1].timestamp.ToMicroseconds(), it[0])
    )
    kinds = [each.WhichOneof("eventType") for _, each in events]
    if "executionRewound" in kinds:  # which a worker wants alone
        events = [events[kinds.index("executionRewound")]]
    paused = [at for at, kind in enumerate(kinds) if kind in ("executionSuspended", "executionResumed")][-1:]
    if paused and kinds[paused[0]] == "executionSuspended":
        # The rest stays here: a worker would set it aside, and forget it at a continue-as-new.
        events = events[: paused[0] + 1]
    # The worker takes its clock from an orchestratorStarted; a rewound history brings one of its own.
    if not events[0][1].HasField("orchestratorStarted"):
        events.insert(0, (0, event(now, orchestratorStarted=pb.OrchestratorStartedEvent())))
    return dict(events)


def _purge(tx: Transaction, id: str, recursive: bool) -> int:
    return entities.purge(tx, id) if id.startswith("@") else instances.purge(tx, id, recursive)
