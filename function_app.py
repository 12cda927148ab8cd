"""The Azure Functions app: registers the orchestration, its activities, the API and the janitor. Nothing else.

Read next: orchestrators/session.py (a session's life), nightshift/lifecycle.py (its rules), worker/loop.py
(the agent).
"""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df
import azure.functions as func

from activities import janitor
from activities import session as activities
from api.app import create_api
from api.doorbell import DurableDoorbell, current_doorbell
from nightshift import telemetry
from nightshift.lifecycle import Action, State
from nightshift.services import services
from orchestrators import session as orchestration

telemetry.configure("app")
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)  # the API decides for itself, route by route
api = func.AsgiMiddleware(create_api(services))

app.orchestration_trigger(context_name="context", orchestration=orchestration.NAME)(orchestration.session)


@app.route(route="{*path}")
@app.durable_client_input(client_name="client")
async def http(req: func.HttpRequest, context: func.Context, client: Any) -> func.HttpResponse:
    token = current_doorbell.set(DurableDoorbell(client, req))
    try:
        with telemetry.invocation(context.trace_context.trace_parent):
            return await api.handle_async(req, context)
    finally:
        current_doorbell.reset(token)


@app.route(route="api/worker/items")
async def items(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """What an agent writes at every step wakes nobody: no durable client, which takes a millisecond to make."""
    with telemetry.invocation(context.trace_context.trace_parent):
        return await api.handle_async(req, context)


@app.timer_trigger(schedule="0 */5 * * * *", arg_name="timer", run_on_startup=False)
@app.durable_client_input(client_name="client")
async def tidy(timer: func.TimerRequest, client: Any) -> None:
    await janitor.tidy(services(), DurableDoorbell(client))


@app.activity_trigger(input_name="input")
async def observe(input: dict[str, Any]) -> dict[str, Any]:
    return await activities.observe(services(), State.model_validate(input["state"]))


@app.activity_trigger(input_name="input")
async def project(input: dict[str, Any]) -> None:
    await activities.project(services(), State.model_validate(input["state"]))


@app.activity_trigger(input_name="input")
async def post_notice(input: dict[str, Any]) -> None:
    await activities.post_notice(services(), Action.model_validate(input))


@app.activity_trigger(input_name="input")
async def start_machine(input: dict[str, Any]) -> dict[str, Any] | None:
    return await activities.start_machine(services(), Action.model_validate(input))


@app.activity_trigger(input_name="input")
async def deallocate_machine(input: dict[str, Any]) -> None:
    await activities.deallocate_machine(services(), Action.model_validate(input))


@app.activity_trigger(input_name="input")
async def delete_machine(input: dict[str, Any]) -> None:
    await activities.delete_machine(services(), Action.model_validate(input))


@app.activity_trigger(input_name="input")
async def ring_worker(input: dict[str, Any]) -> None:
    await activities.ring_worker(services(), Action.model_validate(input))


@app.activity_trigger(input_name="input")
async def purge_session(input: dict[str, Any]) -> None:
    await activities.purge_session(services(), Action.model_validate(input))
