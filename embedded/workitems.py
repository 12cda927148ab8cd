"""Orchestrations, activities and entities: pulls work from the task hub, runs the app's functions, reports."""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc.aio
from durabletask.entities import EntityInstanceId
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

from embedded.invocation import Invoker, decode, encode
from embedded.loader import DurableFunction, DurableKind
from embedded.settings import HostSettings

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0


class UnknownFunction(LookupError):
    """Work for a function that this app does not have."""


class WorkItems:
    """The pump. An item of each kind waits for its kind's limit only, so activities never hold up orchestrations."""

    def __init__(
        self, stub: Any, invoker: Invoker, functions: Iterable[DurableFunction], settings: HostSettings
    ) -> None:
        self._stub = stub
        self._invoker = invoker
        self._functions = {(function.kind, function.registered): function for function in functions}
        self._request = pb.GetWorkItemsRequest(
            maxConcurrentOrchestrationWorkItems=settings.max_orchestrations,
            maxConcurrentActivityWorkItems=settings.max_activities,
            maxConcurrentEntityWorkItems=settings.max_orchestrations,
        )
        activities = asyncio.Semaphore(settings.max_activities)
        orchestrations = asyncio.Semaphore(settings.max_orchestrations)
        entities = asyncio.Semaphore(settings.max_orchestrations)
        self._handlers: dict[str, tuple[asyncio.Semaphore, Callable[[pb.WorkItem], Awaitable[None]]]] = {
            "orchestratorRequest": (orchestrations, self._orchestrate),
            "activityRequest": (activities, self._act),
            "entityRequest": (entities, self._serve_entity),
            "entityRequestV2": (entities, self._serve_entity),
        }
        self._running: set[asyncio.Task[None]] = set()

    async def pump(self) -> None:
        """Pull work until cancelled. A hub that is away is asked again, as the host outlives its connections."""
        while True:
            try:
                async for item in self._stub.GetWorkItems(self._request):
                    self._begin(item)
            except grpc.aio.AioRpcError as error:
                logger.warning("the task hub does not answer: %s %s", error.code(), error.details())
            await asyncio.sleep(RECONNECT_SECONDS)

    async def drain(self, seconds: float) -> None:
        """Let what runs end; after `seconds` cancel the rest, which the hub hands out again."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        remaining = list(self._running)
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)

    def _begin(self, item: pb.WorkItem) -> None:
        kind = item.WhichOneof("request")
        if kind not in self._handlers:
            if kind != "healthPing":
                logger.warning("work item of unknown kind %s", kind)
            return
        task = asyncio.create_task(self._run(kind, item))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, kind: str, item: pb.WorkItem) -> None:
        limit, handle = self._handlers[kind]
        async with limit:
            try:
                await handle(item)
            except Exception:
                logger.exception("the result of a work item (%s) was not delivered", kind)

    def _find(self, kind: DurableKind, name: str) -> DurableFunction:
        function = self._functions.get((kind, name))
        if function is None:
            raise UnknownFunction(f"the app has no {kind} function named '{name}'")
        return function

    async def _orchestrate(self, item: pb.WorkItem) -> None:
        request = item.orchestratorRequest
        try:
            started = [
                event for event in (*request.pastEvents, *request.newEvents) if event.HasField("executionStarted")
            ]
            function = self._find("orchestration", started[-1].executionStarted.name if started else "")
            encoded = await self._invoke_encoded(function, "orchestrationTrigger", request)
            response = pb.OrchestratorResponse.FromString(encoded)
        except Exception as error:
            # Errors of the app's code come back inside the response; this is one of the host or the library.
            logger.exception("orchestration %s could not be run", request.instanceId)
            failed = helpers.new_complete_orchestration_action(
                -1, pb.ORCHESTRATION_STATUS_FAILED, failure_details=_failure(error)
            )
            response = pb.OrchestratorResponse(instanceId=request.instanceId, actions=[failed])
        response.completionToken = item.completionToken
        await self._stub.CompleteOrchestratorTask(response)

    async def _act(self, item: pb.WorkItem) -> None:
        request = item.activityRequest
        response = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            completionToken=item.completionToken,
        )
        try:
            value = decode("activityTrigger", request.input.value or "null")
            result = await self._invoker.invoke(self._find("activity", request.name), value)
            if result is not None:
                response.result.value = encode("activityTrigger", result)
        except Exception as error:
            logger.warning("activity %s of %s failed", request.name, response.instanceId, exc_info=True)
            response.failureDetails.CopyFrom(_failure(error))
        await self._stub.CompleteActivityTask(response)

    async def _serve_entity(self, item: pb.WorkItem) -> None:
        if item.HasField("entityRequestV2"):
            request, operations = helpers.convert_to_entity_batch_request(item.entityRequestV2)
        else:
            request, operations = item.entityRequest, []
        try:
            function = self._find("entity", EntityInstanceId.parse(request.instanceId).entity.lower())
            result = pb.EntityBatchResult.FromString(await self._invoke_encoded(function, "entityTrigger", request))
        except Exception as error:
            logger.exception("entity %s could not be run", request.instanceId)
            failure = pb.OperationResult(failure=pb.OperationResultFailure(failureDetails=_failure(error)))
            state = request.entityState if request.HasField("entityState") else None
            result = pb.EntityBatchResult(results=[failure] * len(request.operations), entityState=state)
        result.completionToken = item.completionToken
        result.operationInfos.extend(operations)
        await self._stub.CompleteEntityTask(result)

    async def _invoke_encoded(
        self, function: DurableFunction, trigger: str, request: pb.OrchestratorRequest | pb.EntityBatchRequest
    ) -> bytes:
        context = decode(trigger, base64.b64encode(request.SerializeToString()).decode())
        return base64.b64decode(encode(trigger, await self._invoker.invoke(function, context)))


def _failure(error: Exception) -> pb.TaskFailureDetails:
    details = helpers.new_failure_details(error)
    if not details.errorMessage:  # an empty message reads as "no failure" on the other side
        details.errorMessage = type(error).__name__
    return details
