"""Who works on what: the work that is ready, the workers that ask for some, and what each has in hand.

All of it is in memory only. After a crash the file tells what is ready, and nobody has anything in hand.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from os import urandom
from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb


class Kind(StrEnum):
    ORCHESTRATION = "orchestration"
    ACTIVITY = "activity"
    ENTITY = "entity"


type Key = str | int
"""An orchestration's or entity's id, an activity's number."""
type Name = tuple[str, str]
"""A function's name and version; without one, ""."""


@dataclass(slots=True)
class Lease:
    """Work in a worker's hands, until it reports or another worker is given it."""

    kind: Kind
    key: Key
    name: Name
    worker: "Worker"
    execution: str
    token: str = field(default_factory=lambda: urandom(16).hex())
    delivered: dict[int, pb.HistoryEvent] = field(default_factory=dict[int, pb.HistoryEvent])


class Worker:
    """One stream of work items: what its worker accepts, and how much at once."""

    def __init__(self, request: pb.GetWorkItemsRequest) -> None:
        self.gone = False
        self.work = asyncio.Event()
        self.in_hand = dict.fromkeys(Kind, 0)
        filters = request.workItemFilters
        wanted: dict[Kind, tuple[int, Any]] = {
            Kind.ORCHESTRATION: (request.maxConcurrentOrchestrationWorkItems, filters.orchestrations),
            Kind.ACTIVITY: (request.maxConcurrentActivityWorkItems, filters.activities),
            Kind.ENTITY: (request.maxConcurrentEntityWorkItems, filters.entities),
        }
        self._limits = {kind: limit for kind, (limit, _) in wanted.items()}
        self._filtered = request.HasField("workItemFilters")
        self._accepted: dict[tuple[Kind, str], set[str]] = {}  # versions by name; an empty set is all of them
        for kind, each in ((kind, each) for kind, (_, named) in wanted.items() for each in named):
            self._accepted.setdefault((kind, each.name), set()).update(getattr(each, "versions", ()))

    def has_room(self, kind: Kind) -> bool:
        return self._limits[kind] <= 0 or self.in_hand[kind] < self._limits[kind]

    def accepts(self, kind: Kind, name: Name) -> bool:
        versions = self._accepted.get((kind, name[0]))
        return not self._filtered or (versions is not None and (not versions or name[1] in versions))


class Dispatcher:
    def __init__(self) -> None:
        # By name, so that finding work that a worker accepts never means passing over much that it does not.
        self._ready: dict[Kind, OrderedDict[Name, dict[Key, str]]] = {kind: OrderedDict() for kind in Kind}
        self._queued: dict[tuple[Kind, Key], Name] = {}
        self._by_token: dict[str, Lease] = {}
        self._by_key: dict[tuple[Kind, Key], Lease] = {}
        self._workers: list[Worker] = []
        self._turn = list(Kind)
        self._draining = False
        self._fewer = asyncio.Event()  # in somebody's hands

    async def drain(self) -> None:
        """Hand out no more; return when nobody has anything in hand."""
        self._draining = True
        while any(not lease.worker.gone for lease in self._by_token.values()):
            self._fewer.clear()
            await self._fewer.wait()

    def join(self, request: pb.GetWorkItemsRequest) -> Worker:
        self._workers.append(worker := Worker(request))
        return worker

    def leave(self, worker: Worker) -> None:
        """Others may have what it had in hand. Until one takes it, a late report still counts."""
        worker.gone = True
        self._fewer.set()
        self._workers.remove(worker)
        for lease in self._by_token.values():
            if lease.worker is worker:
                self.offer(lease.kind, lease.key, lease.name, lease.execution)

    def offer(self, kind: Kind, key: Key, name: Name, execution: str = "") -> None:
        """There is work, unless somebody has it in hand; when that is released, look again."""
        if not self.busy(kind, key):
            if self._queued.get((kind, key), name) != name:
                self._unqueue(kind, key)  # it was replaced under another name
            self._queued[kind, key] = name
            self._ready[kind].setdefault(name, {})[key] = execution
            for worker in self._workers:
                worker.work.set()

    def busy(self, kind: Kind, key: Key) -> bool:
        """Whether somebody has it in hand, so that it is looked at when that is released."""
        lease = self._by_key.get((kind, key))
        return lease is not None and not lease.worker.gone

    def take(self, worker: Worker) -> Lease | None:
        """The next work for `worker`: each kind in turn, and of a kind each name in turn."""
        for kind in () if self._draining else tuple(self._turn):
            names = self._ready[kind]
            name = next((name for name in names if worker.accepts(kind, name)), None)
            if name is None or not worker.has_room(kind):
                continue
            self._turn.remove(kind)
            self._turn.append(kind)
            key = next(iter(names[name]))
            names.move_to_end(name)
            execution = self._unqueue(kind, key)
            if late := self._by_key.get((kind, key)):
                self.release(late)
            lease = Lease(kind, key, name, worker, execution)
            self._by_token[lease.token] = self._by_key[kind, key] = lease
            worker.in_hand[kind] += 1
            return lease
        return None

    def _unqueue(self, kind: Kind, key: Key) -> str:
        name = self._queued.pop((kind, key))
        execution = self._ready[kind][name].pop(key)
        if not self._ready[kind][name]:
            del self._ready[kind][name]
        return execution

    def held(self, token: str) -> Lease | None:
        return self._by_token.get(token)

    def release(self, lease: Lease) -> None:
        if self._by_token.pop(lease.token, None) is not None:
            del self._by_key[lease.kind, lease.key]
            self._fewer.set()
            full = not lease.worker.has_room(lease.kind)
            lease.worker.in_hand[lease.kind] -= 1
            if full:
                lease.worker.work.set()
