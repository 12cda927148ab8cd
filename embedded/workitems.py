"""Orchestrations, activities and entities: pulls work from the task hub, runs the app's functions, reports."""

import asyncio
import base64
import logging
from collections.abc import Iterable
from typing import Any

import grpc.aio
from durabletask.entities import EntityInstanceId
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

from embedded.invocation import Invoker, decode, encode
from embedded.loader import Function
from embedded.settings import HostSettings
from embedded.tasks import Tasks

logger = logging.getLogger(__name__)


class WorkItems:
    """The pump. The hub hands out no more of a kind at once than host.json allows."""

    def __init__(self, stub: Any, invoker: Invoker, functions: Iterable[Function], settings: HostSettings) -> None:
        self._stub = stub
        self._invoker = invoker
        self._functions = {(function.kind, function.target): function for function in functions}
        self._settings = settings
        self._pump, self._under_way = Tasks(), Tasks()
        self._left_alone: set[str] = set()

    def start(self) -> None:
        self._pump.begin(self._pull())

    async def drain(self, seconds: float) -> None:
        """Pull no more, and let what runs end; after `seconds` cancel the rest, which the hub hands out again."""
        await self._pump.drain(0)
        await self._under_way.drain(seconds)

    async def _pull(self) -> None:
        request = pb.GetWorkItemsRequest(
            maxConcurrentOrchestrationWorkItems=self._settings.max_orchestrations,
            maxConcurrentActivityWorkItems=self._settings.max_activities,
            maxConcurrentEntityWorkItems=self._settings.max_entities,
        )
        while True:  # a hub that is away is asked again, as the host outlives its connections
            try:
                async for item in self._stub.GetWorkItems(request):
                    self._under_way.begin(self._run(item))
            except grpc.aio.AioRpcError as error:
                logger.warning("the task hub does not answer: %s %s", error.code(), error.details())
            await asyncio.sleep(1)

    async def _run(self, item: pb.WorkItem) -> None:
        match item.WhichOneof("request"):
            case "orchestratorRequest":
                response = await self._orchestrate(item.orchestratorRequest)
                report = self._stub.CompleteOrchestratorTask
            case "activityRequest":
                response, report = await self._act(item.activityRequest), self._stub.CompleteActivityTask
            case "entityRequestV2":
                response, report = await self._serve_entity(item.entityRequestV2), self._stub.CompleteEntityTask
            case kind:
                raise NotImplementedError(f"work item of kind {kind}")
        if response is None:
            response, report = pb.AbandonOrchestrationTaskRequest(), self._stub.AbandonTaskOrchestratorWorkItem
        response.completionToken = item.completionToken
        await report(response)

    async def _orchestrate(self, request: pb.OrchestratorRequest) -> pb.OrchestratorResponse | None:
        """None leaves it as it is, for a host of its version."""
        events = (*request.pastEvents, *request.newEvents)
        started = [event.executionStarted for event in events if event.HasField("executionStarted")][-1]
        default, version = self._settings.default_version, started.version.value
        fits = self._settings.runs(version)
        if not fits and self._settings.version_failure == "Reject":
            if request.instanceId not in self._left_alone:  # the hub offers it again and again
                logger.warning("orchestration %s is left alone: its version is '%s'", request.instanceId, version)
            self._left_alone.add(request.instanceId)
            return None
        try:
            if not fits:
                raise LookupError(f"the app, which is of version '{default}', does not run version '{version}'")
            response = pb.OrchestratorResponse.FromString(await self._replay("orchestration", started.name, request))
        except Exception as error:
            # Errors of the app's code come back inside the response; this is one of the host or the library.
            logger.exception("orchestration %s could not be run", request.instanceId)
            status, details = pb.ORCHESTRATION_STATUS_FAILED, _failure(error)
            failed = helpers.new_complete_orchestration_action(-1, status, failure_details=details)
            response = pb.OrchestratorResponse(instanceId=request.instanceId, actions=[failed])
        for action in response.actions:
            if default and action.HasField("createSubOrchestration"):
                action.createSubOrchestration.version.value = action.createSubOrchestration.version.value or default
        return response

    async def _act(self, request: pb.ActivityRequest) -> pb.ActivityResponse:
        response = pb.ActivityResponse(instanceId=request.orchestrationInstance.instanceId, taskId=request.taskId)
        try:
            value = decode("activityTrigger", request.input.value or "null")
            result = await self._invoke("activity", request.name, value)
            if result is not None:
                response.result.value = encode("activityTrigger", result)
        except Exception as error:
            logger.warning("activity %s of %s failed", request.name, response.instanceId, exc_info=True)
            response.failureDetails.CopyFrom(_failure(error))
        return response

    async def _serve_entity(self, entity: pb.EntityRequest) -> pb.EntityBatchResult:
        request, operations = helpers.convert_to_entity_batch_request(entity)
        try:
            name = EntityInstanceId.parse(request.instanceId).entity
            result = pb.EntityBatchResult.FromString(await self._replay("entity", name, request))
        except Exception as error:
            logger.exception("entity %s could not be run", request.instanceId)
            failure = pb.OperationResult(failure=pb.OperationResultFailure(failureDetails=_failure(error)))
            state = request.entityState if request.HasField("entityState") else None
            result = pb.EntityBatchResult(results=[failure] * len(request.operations), entityState=state)
        result.operationInfos.extend(operations)
        return result

    async def _replay(self, kind: str, name: str, request: Any) -> bytes:
        """Orchestrations and entities are handed their protocol message, and return one, in base64."""
        context = decode(f"{kind}Trigger", base64.b64encode(request.SerializeToString()).decode())
        return base64.b64decode(encode(f"{kind}Trigger", await self._invoke(kind, name, context)))

    async def _invoke(self, kind: str, name: str, value: Any) -> Any:
        function = self._functions.get((kind, name))
        if function is None:
            raise LookupError(f"the app has no {kind} function named '{name}'")
        return await self._invoker.invoke(function, value)


def _failure(error: Exception) -> pb.TaskFailureDetails:
    details = helpers.new_failure_details(error)
    if not details.errorMessage:  # an empty message reads as "no failure" on the other side
        details.errorMessage = type(error).__name__
    return details
