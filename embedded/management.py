"""Durable's HTTP management API, under /runtime/webhooks/durabletask."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

import grpc
import grpc.aio
from azure.durable_functions.http import HttpManagementPayload
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.history import to_dict
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from embedded.auth import Keys

PREFIX = "/runtime/webhooks/durabletask"

Endpoint = Callable[[Request], Awaitable[Response]]

_NAMES = {
    value: "".join(word.capitalize() for word in name.removeprefix("ORCHESTRATION_STATUS_").split("_"))
    for name, value in pb.OrchestrationStatus.items()
}
_STATUSES = {name.lower(): cast(pb.OrchestrationStatus, value) for value, name in _NAMES.items()}
_ENDED = [
    pb.ORCHESTRATION_STATUS_COMPLETED,
    pb.ORCHESTRATION_STATUS_FAILED,
    pb.ORCHESTRATION_STATUS_CANCELED,
    pb.ORCHESTRATION_STATUS_TERMINATED,
]
_HTTP_STATUS = {
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 410,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
}


class Management:
    """The API over the hub's protocol. `query` is what every link it hands out carries (hub, connection, key)."""

    def __init__(
        self, stub: Any, channel: grpc.aio.Channel, orchestrations: frozenset[str], keys: Keys, query: str
    ) -> None:
        self._stub = stub
        self._client = AsyncTaskHubGrpcClient(channel=channel)  # for history only: it joins the streamed chunks
        self._orchestrations = orchestrations
        self._keys = keys
        self._query = query

    def routes(self) -> list[BaseRoute]:
        instance = f"{PREFIX}/instances/{{id}}"
        table: list[tuple[str, str, Endpoint]] = [
            ("POST", f"{PREFIX}/orchestrators/{{name}}", self._start),
            ("POST", f"{PREFIX}/orchestrators/{{name}}/{{id}}", self._start),
            ("GET", f"{PREFIX}/instances", self._list),
            ("GET", instance, self._status),
            ("DELETE", instance, self._purge),
            ("POST", f"{instance}/raiseEvent/{{event}}", self._raise_event),
            ("POST", f"{instance}/terminate", self._terminate),
            ("POST", f"{instance}/suspend", partial(self._pause, resume=False)),
            ("POST", f"{instance}/resume", partial(self._pause, resume=True)),
            ("POST", f"{instance}/restart", self._restart),
            ("POST", f"{instance}/rewind", self._rewind),
        ]
        return [Route(path, self._guarded(endpoint), methods=[method]) for method, path, endpoint in table]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if not (self._keys.is_local(request) or self._keys.allows(request, "admin")):
                return Response(status_code=401)
            try:
                return await endpoint(request)
            except HTTPException as error:
                return JSONResponse({"Message": error.detail}, error.status_code)
            except grpc.aio.AioRpcError as error:
                return JSONResponse({"Message": error.details()}, _HTTP_STATUS.get(error.code(), 500))

        return guarded

    async def _start(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        if name not in self._orchestrations:
            raise HTTPException(400, f"The function '{name}' doesn't exist or is not an orchestrator function.")
        start = pb.CreateInstanceRequest(
            name=name,
            instanceId=request.path_params.get("id") or uuid4().hex,
            input=await _json_body(request),
            orchestrationIdReusePolicy=pb.OrchestrationIdReusePolicy(replaceableStatus=_ENDED),
        )
        started = await self._stub.StartInstance(start)
        return self._links(request, started.instanceId)

    async def _list(self, request: Request) -> Response:
        params = request.query_params
        token = request.headers.get("x-ms-continuation-token")
        prefix = params.get("instanceIdPrefix")
        query = pb.InstanceQuery(
            runtimeStatus=[_status(name) for value in params.getlist("runtimeStatus") for name in value.split(",")],
            createdTimeFrom=_time(params.get("createdTimeFrom")),
            createdTimeTo=_time(params.get("createdTimeTo")),
            maxInstanceCount=_count(params.get("top")),
            instanceIdPrefix=StringValue(value=prefix) if prefix else None,
            continuationToken=StringValue(value=token) if token else None,
            fetchInputsAndOutputs=True,
        )
        page: pb.QueryInstancesResponse = await self._stub.QueryInstances(pb.QueryInstancesRequest(query=query))
        instances = [_describe(state, _flag(request, "showInput", True)) for state in page.orchestrationState]
        return JSONResponse(instances, headers={"x-ms-continuation-token": page.continuationToken.value})

    async def _status(self, request: Request) -> Response:
        state = await self._find(request)
        body = _describe(state, _flag(request, "showInput", True))
        if _flag(request, "showHistory", False):
            events = await self._client.get_orchestration_history(state.instanceId)
            body["historyEvents"] = [to_dict(event) for event in events]
        if state.orchestrationStatus not in _ENDED:
            return JSONResponse(body, 202, headers={"Location": str(request.url), "Retry-After": "1"})
        failed = state.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
        return JSONResponse(
            body, 500 if failed and _flag(request, "returnInternalServerErrorOnFailure", False) else 200
        )

    async def _purge(self, request: Request) -> Response:
        state = await self._find(request)
        purged = await self._stub.PurgeInstances(pb.PurgeInstancesRequest(instanceId=state.instanceId))
        if not purged.deletedInstanceCount:
            raise HTTPException(409, "The instance is still running.")
        return JSONResponse({"instancesDeleted": purged.deletedInstanceCount})

    async def _raise_event(self, request: Request) -> Response:
        state = await self._find_running(request)
        await self._stub.RaiseEvent(
            pb.RaiseEventRequest(
                instanceId=state.instanceId, name=request.path_params["event"], input=await _json_body(request)
            )
        )
        return Response(status_code=202)

    async def _terminate(self, request: Request) -> Response:
        state = await self._find_running(request)
        reason = StringValue(value=json.dumps(request.query_params.get("reason", "")))
        await self._stub.TerminateInstance(
            pb.TerminateRequest(instanceId=state.instanceId, output=reason, recursive=True)
        )
        return Response(status_code=202)

    async def _pause(self, request: Request, *, resume: bool) -> Response:
        state = await self._find_running(request)
        reason = StringValue(value=request.query_params.get("reason", ""))
        if resume:
            await self._stub.ResumeInstance(pb.ResumeRequest(instanceId=state.instanceId, reason=reason))
        else:
            await self._stub.SuspendInstance(pb.SuspendRequest(instanceId=state.instanceId, reason=reason))
        return Response(status_code=202)

    async def _restart(self, request: Request) -> Response:
        state = await self._find(request)
        fresh = _flag(request, "restartWithNewInstanceId", True)
        restarted = await self._stub.RestartInstance(
            pb.RestartInstanceRequest(instanceId=state.instanceId, restartWithNewInstanceId=fresh)
        )
        return self._links(request, restarted.instanceId)

    async def _rewind(self, request: Request) -> Response:
        state = await self._find(request)
        reason = StringValue(value=request.query_params.get("reason", ""))
        await self._stub.RewindInstance(pb.RewindInstanceRequest(instanceId=state.instanceId, reason=reason))
        return Response(status_code=202)

    async def _find(self, request: Request) -> pb.OrchestrationState:
        instance_id: str = request.path_params["id"]
        found: pb.GetInstanceResponse = await self._stub.GetInstance(
            pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True)
        )
        if not found.exists:
            raise HTTPException(404, f"No instance with ID '{instance_id}' was found.")
        return found.orchestrationState

    async def _find_running(self, request: Request) -> pb.OrchestrationState:
        state = await self._find(request)
        if state.orchestrationStatus in _ENDED:
            raise HTTPException(410, f"The instance is {_NAMES[state.orchestrationStatus]}.")
        return state

    def _links(self, request: Request, instance_id: str) -> Response:
        url = f"{request.url.scheme}://{request.url.netloc}{PREFIX}/instances/{quote(instance_id, safe='')}"
        links = HttpManagementPayload(instance_id, url, self._query)
        headers = {"Location": links["statusQueryGetUri"], "Retry-After": "1"}
        return JSONResponse(links.to_json(), 202, headers=headers)


def _describe(state: pb.OrchestrationState, show_input: bool) -> dict[str, Any]:
    output = _value(state.output)
    if state.HasField("failureDetails") and output is None:
        output = f"Orchestrator function '{state.name}' failed: {state.failureDetails.errorMessage}"
    return {
        "name": state.name,
        "instanceId": state.instanceId,
        "runtimeStatus": _NAMES[state.orchestrationStatus],
        "input": _value(state.input) if show_input else None,
        "customStatus": _value(state.customStatus),
        "output": output,
        "createdTime": _iso(state.createdTimestamp),
        "lastUpdatedTime": _iso(state.lastUpdatedTimestamp),
    }


def _value(text: StringValue) -> Any:
    if not text.value:
        return None
    try:
        return json.loads(text.value)
    except ValueError:
        return text.value  # a client may have stored plain text


def _iso(timestamp: Timestamp) -> str:
    return timestamp.ToDatetime(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _json_body(request: Request) -> StringValue | None:
    body = await request.body()
    try:
        json.loads(body or b"null")
    except ValueError as error:
        raise HTTPException(400, f"The body is not JSON: {error}") from error
    return StringValue(value=body.decode()) if body else None


def _flag(request: Request, name: str, default: bool) -> bool:
    return request.query_params.get(name, str(default)).lower() == "true"


def _status(name: str) -> pb.OrchestrationStatus:
    status = _STATUSES.get(name.strip().lower())
    if status is None:
        raise HTTPException(400, f"runtimeStatus '{name}' is not known")
    return status


def _time(text: str | None) -> Timestamp | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    timestamp = Timestamp()
    timestamp.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return timestamp


def _count(text: str | None) -> int:
    if text and not text.isdecimal():
        raise HTTPException(400, "top must be a number")
    return int(text or 0)
