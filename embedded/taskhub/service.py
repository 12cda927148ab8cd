"""The Durable Task gRPC protocol, spoken for one file."""

import asyncio
import logging
import math
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.wrappers_pb2 import BoolValue, StringValue

from embedded.taskhub import entities, instances, queries, turns
from embedded.taskhub.database import Database, Transaction, now_us
from embedded.taskhub.dispatch import Dispatcher, Kind, Lease
from embedded.taskhub.inbox import ENDED, Late, event
from embedded.taskhub.wire import Method, Refused

logger = logging.getLogger(__name__)

PROTOCOL = pb.DESCRIPTOR.services_by_name["TaskHubSidecarService"]
WRITES: dict[str, Callable[[Transaction, Any], Any]] = {
    "RaiseEvent": instances.raise_event,
    "SuspendInstance": instances.suspend,
    "ResumeInstance": instances.resume,
    "TerminateInstance": instances.terminate,
    "RestartInstance": instances.restart,
    "RewindInstance": instances.rewind,
    "SignalEntity": entities.signal,
    "CleanEntityStorage": entities.clean,
}
READS: dict[str, Callable[[queries.Read, Any], Any]] = {
    "GetInstance": queries.get_instance,
    "QueryInstances": queries.query_instances,
    "ListInstanceIds": queries.list_ids,
    "GetEntity": queries.get_entity,
    "QueryEntities": queries.query_entities,
}
REPORTS: dict[str, Callable[[Transaction, Lease, Any], None]] = {
    "CompleteOrchestratorTask": turns.complete,
    "CompleteActivityTask": turns.complete_activity,
    "CompleteEntityTask": entities.complete,
}
ABANDONS = ("AbandonTaskOrchestratorWorkItem", "AbandonTaskActivityWorkItem", "AbandonTaskEntityWorkItem")
PINGS = ("Hello", "CreateTaskHub")  # it is there, or nobody would answer

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


class Service:
    """The hub itself. Raises StartError when the file cannot be used."""

    def __init__(self, path: Path, default_version: str | None = None) -> None:
        self._path = path
        self._default_version = default_version
        self._loop = asyncio.get_running_loop()
        self._dispatcher = Dispatcher()
        self._changes: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()  # of instances, for who waits
        self._due_seen = now_us()
        self._due_next = math.inf
        self._database = Database(path, self._committed, self._synced)
        self._clock: asyncio.Handle = self._loop.call_soon(self._watch_clock)
        for seq, name, version in self._database.read("SELECT seq, name, version FROM activities ORDER BY seq"):
            self._dispatcher.offer(Kind.ACTIVITY, seq, (name, version))
        for (target,) in self._database.read("SELECT DISTINCT target FROM inbox WHERE due <= ?", (self._due_seen,)):
            self._look_at(target)

    async def drain(self, grace: float) -> None:
        """Hand out no more work; return when what is in hand was reported, or after `grace` seconds, and is kept."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._dispatcher.drain(), grace)
        with suppress(OSError):  # who called while the disk failed is told so
            await self._database.settle()

    def close(self) -> None:
        self._clock.cancel()
        self._database.close()

    def methods(self) -> dict[bytes, Method]:
        """What `wire` serves, by path."""
        found: dict[str, Callable[[Any], Any]] = {
            **{name: partial(self._call, operation) for name, operation in WRITES.items()},
            **{name: partial(self._ask, query) for name, query in READS.items()},
            **{name: partial(self._report, keep) for name, keep in REPORTS.items()},
            **dict.fromkeys(ABANDONS, self._abandon),
            **dict.fromkeys(PINGS, self._ping),
            "StartInstance": self._start,
            "WaitForInstanceStart": partial(self._wait, lambda status: status != pb.ORCHESTRATION_STATUS_PENDING),
            "WaitForInstanceCompletion": partial(self._wait, lambda status: status in ENDED),
            "PurgeInstances": self._purge,
            "StreamInstanceHistory": self._history,
            "GetWorkItems": self._work_items,
        }
        requests = {method.name: GetMessageClass(method.input_type).FromString for method in PROTOCOL.methods}
        return {f"/{PROTOCOL.full_name}/{name}".encode(): (requests[name], answer) for name, answer in found.items()}

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
                if change := self._changes.pop(target, None):
                    change.set()
            for seq, name, version in transaction.activities:
                self._dispatcher.offer(Kind.ACTIVITY, seq, (name, version))
            self._wake_at(transaction.due)

    def _look_at(self, target: str) -> None:
        """Offer an orchestration or entity that has something to do. What is committed decides, nothing else."""
        kind = Kind.ENTITY if target.startswith("@") else Kind.ORCHESTRATION
        if self._dispatcher.busy(kind, target):
            return
        if kind is Kind.ENTITY:
            if self._database.read(OPERATIONS, {"id": target, "now": now_us()}):
                self._dispatcher.offer(Kind.ENTITY, target, (target.split("@")[1], ""))
        else:
            for name, version, execution in self._database.read(READY, {"id": target, "now": now_us()}):
                self._dispatcher.offer(Kind.ORCHESTRATION, target, (name, version), execution)

    def _wake_at(self, due: float) -> None:
        """Look at the clock not later than that."""
        if due < self._due_next:
            self._due_next = due
            self._clock.cancel()
            self._clock = self._loop.call_later((due - now_us()) / 1e6, self._watch_clock)

    def _watch_clock(self) -> None:
        """Offer what fell due since the last time, and come again when something does."""
        now = now_us()  # which may be earlier: then some of it is looked at twice
        self._due_next = math.inf
        try:
            fell_due = "SELECT DISTINCT target FROM inbox WHERE due > ? AND due <= ?"
            for (target,) in self._database.read(fell_due, (self._due_seen, now)):
                self._look_at(target)
            self._due_seen = now  # not before: what cannot be read now is looked at again
            ((due,),) = self._database.read("SELECT min(due) FROM inbox WHERE due > ?", (now,))
            self._wake_at(min(due or math.inf, now + LONGEST_SLEEP * 1e6))
        except sqlite3.Error:
            logger.exception("the task hub %s could not be read; timers wait", self._path)
            self._wake_at(now + RETRY_SECONDS * 1e6)

    # Workers

    async def _work_items(self, request: pb.GetWorkItemsRequest) -> AsyncGenerator[pb.WorkItem]:
        worker = self._dispatcher.join(request)
        try:
            while True:
                worker.work.clear()
                while lease := self._dispatcher.take(worker):
                    if lease.kind is Kind.ENTITY:
                        await self._database.settle()  # it may act on the world
                    try:
                        item = self._work_item(lease)
                    except Exception:  # this one's rows are damaged; it must not hold up the others
                        logger.exception("%s %s cannot be handed out", lease.kind, lease.key)
                        self._give_back(lease.token)
                        continue
                    if item is None:
                        self._dispatcher.release(lease)  # it has ended, or is no more
                        if lease.kind is not Kind.ACTIVITY:
                            self._look_at(str(lease.key))  # at what came while it was in hand
                    else:
                        item.completionToken = lease.token
                        yield item
                await worker.work.wait()
        finally:
            self._dispatcher.leave(worker)

    def _work_item(self, lease: Lease) -> pb.WorkItem | None:
        read, now, id = self._database.read, now_us(), str(lease.key)
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
                return pb.WorkItem(activityRequest=pb.ActivityRequest.FromString(scheduled[0][0]))
            case Kind.ENTITY:
                if not (rows := read(OPERATIONS, {"id": id, "now": now})):
                    return None
                lease.delivered = {seq: pb.HistoryEvent.FromString(message) for seq, message, _ in rows}
                state = StringValue(value=rows[0][2]) if rows[0][2] is not None else None
                operations = lease.delivered.values()
                batch = pb.EntityRequest(instanceId=id, entityState=state, operationRequests=operations)
                return pb.WorkItem(entityRequestV2=batch)

    async def _report(self, keep: Callable[[Transaction, Lease, Any], None], request: Any) -> None:
        lease = self._dispatcher.held(request.completionToken)
        if lease is None:
            logger.info("a report came too late: the work was given to another worker")
            return

        def report(tx: Transaction) -> None:
            keep(tx, lease, request)
            tx.reported = lease
            if lease.kind is not Kind.ACTIVITY:
                tx.touched.add(str(lease.key))

        try:
            await self._write(report)
        except Late:
            logger.info("a report came too late: the work was reported on, or is no more")
            self._again(lease)
        except BaseException:
            self._give_back(lease.token)
            raise

    async def _abandon(self, request: Any) -> None:
        self._give_back(request.completionToken)

    def _give_back(self, token: str) -> None:
        """Not at once: a worker that cannot do it now would be given it over and over."""
        if lease := self._dispatcher.held(token):
            self._loop.call_later(RETRY_SECONDS, self._again, lease)

    def _again(self, lease: Lease) -> None:
        self._dispatcher.release(lease)
        if lease.kind is Kind.ACTIVITY:
            self._dispatcher.offer(lease.kind, lease.key, lease.name)  # whoever takes it sees whether it is done
        else:
            self._look_at(str(lease.key))

    # Clients

    async def _write[T](self, operation: Callable[[Transaction], T]) -> T:
        try:
            return await self._database.write(operation)
        except (sqlite3.Error, OSError) as error:
            logger.error("the task hub %s could not be written: %s", self._path, error)
            message = (
                f"the task hub {self._path} could not be written ({error}), nothing of this call was kept;"
                " see that its disk has space, then call again"
            )
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, message) from error

    async def _ping(self, _: Any) -> None:
        pass

    async def _call(self, operation: Callable[[Transaction, Any], Any], request: Any) -> Any:
        return await self._write(lambda tx: operation(tx, request))

    async def _ask(self, query: Callable[[queries.Read, Any], Any], request: Any) -> Any:
        answer = query(self._database.read, request)
        await self._database.settle()
        return answer

    async def _start(self, request: pb.CreateInstanceRequest) -> pb.CreateInstanceResponse:
        if self._default_version and not request.version.value:
            request.version.value = self._default_version
        return pb.CreateInstanceResponse(instanceId=await self._write(lambda tx: instances.create(tx, request)))

    async def _wait(
        self, reached: Callable[[pb.OrchestrationStatus], bool], request: pb.GetInstanceRequest
    ) -> pb.GetInstanceResponse:
        """As long as the caller likes to wait."""
        while True:
            change = self._changes.setdefault(request.instanceId, asyncio.Event())
            found = await self._ask(queries.get_instance, request)
            if found.exists and reached(found.orchestrationState.orchestrationStatus):
                return found
            await change.wait()

    async def _purge(self, request: pb.PurgeInstancesRequest) -> pb.PurgeInstancesResponse:
        async def purge(ids: Iterable[str]) -> int:
            return await self._write(lambda tx: sum(_purge(tx, id, request.recursive) for id in ids))

        deleted, left = 0, False
        if request.HasField("purgeInstanceFilter"):
            chosen = request.purgeInstanceFilter
            seconds = chosen.timeout.ToTimedelta().total_seconds() if chosen.HasField("timeout") else math.inf
            deadline = time.monotonic() + seconds
            while ids := queries.ended_ids(self._database.read, chosen, PURGE_AT_ONCE):
                if left := deleted > 0 and time.monotonic() >= deadline:
                    break
                deleted += await purge(ids)
        else:
            deleted = await purge([request.instanceId] if request.instanceId else request.instanceBatch.instanceIds)
        return pb.PurgeInstancesResponse(deletedInstanceCount=deleted, isComplete=BoolValue(value=not left))

    async def _history(self, request: pb.StreamInstanceHistoryRequest) -> AsyncGenerator[pb.HistoryChunk]:
        for chunk in await self._ask(queries.history, request):
            yield chunk


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
