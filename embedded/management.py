"""Durable's HTTP management API, under /runtime/webhooks/durabletask, with the answers of Durable's extension."""

import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

import grpc.aio
from azure.durable_functions import DurableOrchestrationStatus, OrchestrationRuntimeStatus
from azure.durable_functions.http import HttpManagementPayload
from azure.durable_functions.internal.compat.history_projection import project_history
from azure.durable_functions.internal.compat.orchestration_runtime_status import to_durabletask_statuses
from durabletask import client as durable
from durabletask.client import OrchestrationState
from durabletask.client import OrchestrationStatus as Status
from durabletask.entities import EntityInstanceId
from durabletask.internal import client_helpers, helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from pydantic import BaseModel, BeforeValidator, NonNegativeFloat, NonNegativeInt
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embedded.auth import Keys
from embedded.http import Endpoint, query_parameters

PREFIX = "/runtime/webhooks/durabletask"
CONTINUATION = "x-ms-continuation-token"
ENDED = (Status.COMPLETED, Status.FAILED, Status.TERMINATED)
FILTER = {"created_time_from", "created_time_to", "runtime_status"}  # what lists and purges have in common
HTTP_STATUS = {"NOT_FOUND": 404, "ALREADY_EXISTS": 409, "FAILED_PRECONDITION": 400, "INVALID_ARGUMENT": 400}


def _statuses(text: str) -> list[Status] | None:
    return to_durabletask_statuses([OrchestrationRuntimeStatus(name.strip()) for name in text.split(",")])


class _Query(BaseModel, alias_generator=to_camel):
    """What the operations read from the query string, where the names are in camel case."""

    show_input: bool = True
    show_history: bool = False
    show_history_output: bool = False
    return_internal_server_error_on_failure: bool = False
    restart_with_new_instance_id: bool = True
    timeout: NonNegativeFloat = 0  # seconds
    reason: str = ""
    instance_id_prefix: str | None = None
    created_time_from: datetime | None = None
    created_time_to: datetime | None = None
    runtime_status: Annotated[list[Status] | None, BeforeValidator(_statuses)] = None
    last_operation_time_from: datetime | None = None
    last_operation_time_to: datetime | None = None
    fetch_state: bool = False
    top: NonNegativeInt = 0
    op: str = ""


@dataclass(frozen=True, slots=True)
class Management:
    """The API over the hub's protocol."""

    stub: Any  # for the list: the client has no pages
    client: durable.AsyncTaskHubGrpcClient
    orchestrations: frozenset[str]
    keys: Keys
    link_query: str  # what every link carries: hub, connection, key

    def endpoints(self) -> list[Endpoint]:
        table = [
            ("POST", "orchestrators/{name}/{id?}", self._start),
            ("GET", "instances", self._list),
            ("DELETE", "instances/{id?}", self._purge),
            ("GET", "instances/{id}", self._describe),
            ("POST", "instances/{id}/raiseEvent/{event}", self._raise_event),
            ("POST", "instances/{id}/restart", self._restart),
            ("POST", "instances/{id}/{operation}", self._operate),
            ("GET", "entities/{entity?}", self._list_entities),
            ("GET", "entities/{entity}/{key}", self._get_entity),
            ("POST", "entities/{entity}/{key}", self._signal_entity),
        ]
        return [Endpoint(f"{PREFIX}/{path}", [method], partial(self._answer, run)) for method, path, run in table]

    async def _answer(self, operation: Callable[[Request, _Query], Awaitable[Response]], request: Request) -> Response:
        if not self.keys.allows(request, "system"):
            return Response(status_code=401)
        try:
            return await operation(request, _Query.model_validate(query_parameters(request)))
        except HTTPException as error:
            return JSONResponse({"Message": error.detail}, error.status_code)
        except ValueError as error:  # a parameter, a body or an entity's name is not what it must be
            return JSONResponse({"Message": str(error)}, 400)
        except grpc.aio.AioRpcError as error:
            return JSONResponse({"Message": error.details()}, HTTP_STATUS.get(error.code().name, 500))

    async def _start(self, request: Request, query: _Query) -> Response:
        name, instance_id = request.path_params["name"], request.path_params.get("id")
        if name not in self.orchestrations:
            raise HTTPException(400, f"The function '{name}' doesn't exist or is not an orchestrator function.")
        data = json.loads(await request.body() or "null")
        started = await self.client.schedule_new_orchestration(name, instance_id=instance_id, input=data)
        return await self._follow(request, query, started)

    async def _restart(self, request: Request, query: _Query) -> Response:
        state = await self._find(request, missing=400)
        fresh = query.restart_with_new_instance_id
        started = await self.client.restart_orchestration(state.instance_id, restart_with_new_instance_id=fresh)
        return await self._follow(request, query, started)

    async def _follow(self, request: Request, query: _Query, instance_id: str) -> Response:
        """Links to a started instance or, when it ends within the `timeout` that was asked for, its result."""
        if query.timeout:
            with suppress(TimeoutError):
                state = await self.client.wait_for_orchestration_completion(instance_id, timeout=query.timeout)
                if state and state.runtime_status == Status.COMPLETED:
                    return JSONResponse(DurableOrchestrationStatus(state).output)
                if state:
                    return await self._describe(request, query, state)
        url = f"{request.url.scheme}://{request.url.netloc}{PREFIX}/instances/{quote(instance_id, safe='')}"
        links = HttpManagementPayload(instance_id, url, self.link_query)
        return JSONResponse(links, 202, headers={"Location": links["statusQueryGetUri"], "Retry-After": "10"})

    async def _describe(self, request: Request, query: _Query, state: OrchestrationState | None = None) -> Response:
        state = state or await self._find(request)
        body = _status(state, query)
        if query.show_history:
            events = await self.client.get_orchestration_history(state.instance_id)
            outputs = query.show_history_output
            body["historyEvents"] = project_history(events, show_input=query.show_input, show_history_output=outputs)
        if state.runtime_status not in ENDED:
            return JSONResponse(body, 202, headers={"Location": str(request.url), "Retry-After": "5"})
        error = state.runtime_status == Status.FAILED and query.return_internal_server_error_on_failure
        return JSONResponse(body, 500 if error else 200)

    async def _list(self, request: Request, query: _Query) -> Response:
        given = query.model_dump(include=FILTER | {"instance_id_prefix"})
        criteria = durable.OrchestrationQuery(**given, max_instance_count=query.top, fetch_inputs_and_outputs=True)
        token = helpers.get_string_value(request.headers.get(CONTINUATION))
        wanted = client_helpers.build_query_instances_req(criteria, token)
        page: pb.QueryInstancesResponse = await self.stub.QueryInstances(wanted)
        body = [_status(durable.parse_orchestration_state(state), query) for state in page.orchestrationState]
        return JSONResponse(body, headers={CONTINUATION: page.continuationToken.value})

    async def _purge(self, request: Request, query: _Query) -> Response:
        if single := "id" in request.path_params:
            purged = await self.client.purge_orchestration((await self._find(request)).instance_id)
        elif query.created_time_from:
            purged = await self.client.purge_orchestrations_by(**query.model_dump(include=FILTER))
        else:
            raise HTTPException(400, "Please provide value for 'createdTimeFrom' parameter.")
        if not purged.deleted_instance_count:
            raise HTTPException(409 if single else 404, "There is no such instance that has ended.")
        return JSONResponse({"instancesDeleted": purged.deleted_instance_count})

    async def _raise_event(self, request: Request, query: _Query) -> Response:
        state, event = await self._find(request, gone=ENDED), request.path_params["event"]
        await self.client.raise_orchestration_event(state.instance_id, event, data=await _json(request))
        return Response(status_code=202)

    async def _operate(self, request: Request, query: _Query) -> Response:
        name, client = request.path_params["operation"].lower(), self.client
        state = await self._find(request, gone=(Status.COMPLETED, Status.TERMINATED) if name == "rewind" else ENDED)
        match name:
            case "terminate":
                await client.terminate_orchestration(state.instance_id, output=query.reason)
            case "suspend":
                await client.suspend_orchestration(state.instance_id, reason=query.reason)
            case "resume":
                await client.resume_orchestration(state.instance_id, reason=query.reason)
            case "rewind":
                await client.rewind_orchestration(state.instance_id, reason=query.reason)
            case _:
                raise HTTPException(404, f"There is no operation '{name}'.")
        return Response(status_code=202)

    async def _get_entity(self, request: Request, query: _Query) -> Response:
        entity = await self.client.get_entity(EntityInstanceId(**request.path_params))
        if entity is None:
            raise HTTPException(404, "There is no such entity.")
        return JSONResponse(entity.get_typed_state())

    async def _list_entities(self, request: Request, query: _Query) -> Response:
        name = request.path_params.get("entity")
        criteria = durable.EntityQuery(
            f"@{name.lower()}@" if name else None, query.last_operation_time_from, query.last_operation_time_to,
            query.fetch_state, page_size=query.top,
        )  # fmt: skip
        token = helpers.get_string_value(request.headers.get(CONTINUATION))
        page: pb.QueryEntitiesResponse = await self.stub.QueryEntities(
            client_helpers.build_query_entities_req(criteria, token)
        )
        body: list[dict[str, Any]] = []
        for each in page.entities:
            id, time = EntityInstanceId.parse(each.instanceId), each.lastModifiedTime.ToDatetime(UTC).isoformat()
            found = {"entityId": {"name": id.entity, "key": id.key}, "lastOperationTime": time}
            body.append(found | ({"state": json.loads(each.serializedState.value)} if query.fetch_state else {}))
        return JSONResponse(body, headers={CONTINUATION: page.continuationToken.value})

    async def _signal_entity(self, request: Request, query: _Query) -> Response:
        entity = EntityInstanceId(**request.path_params)
        await self.client.signal_entity(entity, query.op, input=await _json(request))
        return Response(status_code=202)

    async def _find(self, request: Request, missing: int = 404, gone: Iterable[Status] = ()) -> OrchestrationState:
        state = await self.client.get_orchestration_state(request.path_params["id"])
        if state is None:
            raise HTTPException(missing, f"No instance with ID '{request.path_params['id']}' was found.")
        if state.runtime_status in gone:
            raise HTTPException(410, f"The instance has ended ({state.runtime_status}).")
        return state


def _status(state: OrchestrationState, query: _Query) -> dict[str, Any]:
    known = DurableOrchestrationStatus.from_orchestration_state(state, include_input=query.show_input).to_json()
    return {"input": None, "output": None, "customStatus": None, **known}


async def _json(request: Request) -> Any:
    body, kind = await request.body(), request.headers.get("content-type", "")
    if body and kind.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(400, "Only application/json request content is supported")
    return json.loads(body or "null")
