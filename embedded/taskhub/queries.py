"""What can be asked of a hub: reads of what is committed."""

from collections.abc import Callable, Iterable
from itertools import accumulate, groupby
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.wrappers_pb2 import StringValue

from embedded.taskhub.inbox import ENDED, stamp
from embedded.taskhub.wire import Refused

type Read = Callable[[str, Any], list[Any]]
"""Rows for some SQL and its values."""

PAGE = 100  # rows to a page when the caller does not say
ENOUGH = 1 << 20  # bytes after which a page or a part of a history ends: gRPC's clients take 4 MB if not told otherwise

# A page goes on behind the row whose time and id the last one's token holds.
INSTANCES = """
SELECT state, {time}, id FROM instances WHERE {time} >= :from AND {time} < :to AND ({time}, id) > (:time, :id)
AND (:statuses = '' OR instr(:statuses, ',' || status || ',')) AND substr(id, 1, length(:prefix)) = :prefix
ORDER BY {time}, id LIMIT :rows
"""
ENTITY = """
SELECT state, (SELECT count(*) FROM inbox WHERE target = entities.id), owner, modified, id FROM entities
"""
ENTITIES = f"""{ENTITY}
WHERE modified >= :from AND modified < :to AND (modified, id) > (:time, :id) AND (:transient OR state IS NOT NULL)
AND substr(id, 1, length(:prefix)) = :prefix ORDER BY modified, id LIMIT :rows
"""


def get_instance(read: Read, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
    for (state,) in read("SELECT state FROM instances WHERE id = ?", (request.instanceId,)):
        return pb.GetInstanceResponse(exists=True, orchestrationState=_state(state, request.getInputsAndOutputs))
    return pb.GetInstanceResponse(exists=False)


def query_instances(read: Read, request: pb.QueryInstancesRequest) -> pb.QueryInstancesResponse:
    query = request.query
    values = _values(query, "createdTimeFrom", "createdTimeTo", query.runtimeStatus, query.instanceIdPrefix.value)
    sql = INSTANCES.format(time="created")
    rows, token = _page(read, sql, values, query.maxInstanceCount, query.continuationToken)
    states = [_state(row[0], query.fetchInputsAndOutputs) for row in rows]
    return pb.QueryInstancesResponse(orchestrationState=states, continuationToken=token)


def list_ids(read: Read, request: pb.ListInstanceIdsRequest) -> pb.ListInstanceIdsResponse:
    """Of instances that have ended, by the time when."""
    values = _values(request, "completedTimeFrom", "completedTimeTo", request.runtimeStatus)
    sql = INSTANCES.format(time="completed")
    rows, token = _page(read, sql, values, request.pageSize, request.lastInstanceKey)
    return pb.ListInstanceIdsResponse(instanceIds=[row[-1] for row in rows], lastInstanceKey=token)


def ended_ids(read: Read, chosen: pb.PurgeInstanceFilter, limit: int) -> list[str]:
    statuses = [status for status in ENDED if not chosen.runtimeStatus or status in chosen.runtimeStatus] or [-1]
    values = _values(chosen, "createdTimeFrom", "createdTimeTo", statuses)
    rows, _ = _page(read, INSTANCES.format(time="created"), values, limit, StringValue())
    return [row[-1] for row in rows]


def history(read: Read, request: pb.StreamInstanceHistoryRequest) -> list[pb.HistoryChunk]:
    if not read("SELECT 1 FROM instances WHERE id = ?", (request.instanceId,)):
        raise Refused(grpc.StatusCode.NOT_FOUND, f"Orchestration instance '{request.instanceId}' not found")
    rows = read("SELECT events FROM history WHERE instance = ? ORDER BY id", (request.instanceId,))
    events = pb.OrchestratorRequest.FromString(b"".join(events for (events,) in rows)).pastEvents
    ends = accumulate(each.ByteSize() for each in events)
    parts = groupby(zip(ends, events, strict=True), lambda it: it[0] // ENOUGH)
    return [pb.HistoryChunk(events=(each for _, each in part)) for _, part in parts]


def get_entity(read: Read, request: pb.GetEntityRequest) -> pb.GetEntityResponse:
    """As Azure answers: one without a state, such as a deleted one that still has a lock, is not there."""
    for row in read(f"{ENTITY} WHERE id = ? AND state IS NOT NULL", (request.instanceId,)):
        return pb.GetEntityResponse(exists=True, entity=_entity(row, request.includeState))
    return pb.GetEntityResponse(exists=False)


def query_entities(read: Read, request: pb.QueryEntitiesRequest) -> pb.QueryEntitiesResponse:
    query = request.query
    values = _values(query, "lastModifiedFrom", "lastModifiedTo", prefix=query.instanceIdStartsWith.value)
    values["transient"] = query.includeTransient
    rows, token = _page(read, ENTITIES, values, query.pageSize.value, query.continuationToken)
    found = [_entity(row, query.includeState) for row in rows]
    return pb.QueryEntitiesResponse(entities=found, continuationToken=token)


def _values(request: Any, start: str, end: str, statuses: Iterable[int] = (), prefix: str = "") -> dict[str, Any]:
    """Values for the conditions, by which all is found when the request does not say."""
    return {
        "from": getattr(request, start).ToMicroseconds() if request.HasField(start) else 0,
        "to": getattr(request, end).ToMicroseconds() if request.HasField(end) else 2**63 - 1,
        "statuses": "".join(f",{int(status)}," for status in statuses),
        "prefix": prefix,
    }


def _page(
    read: Read, sql: str, values: dict[str, Any], size: int, token: StringValue
) -> tuple[list[Any], StringValue | None]:
    """Up to `size` rows, which begin with what is large and end with time and id, and the token for the next page."""
    size = size if size > 0 else PAGE
    time, _, id = token.value.partition("|")
    rows = read(sql, values | {"time": int(time or -1), "id": id, "rows": size + 1})
    size = min(size, 1 + sum(bytes < ENOUGH for bytes in accumulate(len(row[0] or "") for row in rows)))
    return rows[:size], StringValue(value=f"{rows[size - 1][-2]}|{rows[size - 1][-1]}") if rows[size:] else None


def _state(blob: bytes, payloads: bool) -> pb.OrchestrationState:
    state = pb.OrchestrationState.FromString(blob)
    if not payloads:
        state.ClearField("input")
        state.ClearField("output")
    return state


def _entity(row: tuple[str | None, int, str | None, int, str], include_state: bool) -> pb.EntityMetadata:
    state, backlog, owner, modified, id = row
    return pb.EntityMetadata(
        instanceId=id,
        lastModifiedTime=stamp(modified),
        backlogQueueSize=backlog,
        lockedBy=StringValue(value=owner) if owner else None,
        serializedState=StringValue(value=state) if include_state and state is not None else None,
    )
