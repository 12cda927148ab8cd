from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from durabletask.entities import EntityInstanceId

Orchestration = Generator[Any, Any, Any]

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
attempts: list[int] = []


@app.activity_trigger(input_name="name")
def greet(name: str) -> str:
    return f"Hello {name}"


@app.activity_trigger(input_name="number", activity="square-it")
async def square(number: int) -> dict[str, int]:
    return {"square": number * number}


@app.activity_trigger(input_name="nothing")
def nothing(nothing: Any) -> None:
    assert nothing is None


@app.activity_trigger(input_name="message")
def fail(message: str) -> None:
    raise ValueError(message)


@app.orchestration_trigger(context_name="ctx")
def native(ctx: Any, name: str) -> Orchestration:
    ctx.set_custom_status({"stage": "greeting"})
    greetings = yield ctx.call_activity("greet", input=name)
    square = yield ctx.call_activity("square-it", input=7)
    empty = yield ctx.call_activity("nothing")
    return [greetings, square, empty]


@app.orchestration_trigger(context_name="context")  # pyright: ignore[reportArgumentType] - the v1 style
def classic(context: df.DurableOrchestrationContext) -> Orchestration:
    names = context.get_input()
    return (yield context.task_all([context.call_activity("greet", name) for name in names]))


@app.orchestration_trigger(context_name="ctx")
def failing(ctx: Any, message: str) -> Orchestration:
    yield ctx.call_activity("fail", input=message)


@app.activity_trigger(input_name="nothing")
def fail_once(nothing: Any) -> str:
    attempts.append(1)
    if len(attempts) == 1:
        raise RuntimeError("not yet")
    return "recovered"


@app.orchestration_trigger(context_name="ctx")
def recovering(ctx: Any, _: Any) -> Orchestration:
    return (yield ctx.call_activity("fail_once"))


@app.orchestration_trigger(context_name="ctx")
def catching(ctx: Any, message: str) -> Orchestration:
    try:
        yield ctx.call_activity("fail", input=message)
    except Exception as error:
        return f"caught {error}"


@app.orchestration_trigger(context_name="ctx")
def unknown(ctx: Any, _: Any) -> Orchestration:
    yield ctx.call_activity("no-such-activity")


@app.orchestration_trigger(context_name="ctx")
def parent(ctx: Any, name: str) -> Orchestration:
    child = yield ctx.call_sub_orchestrator("native", input=name)
    missing = ""
    try:
        yield ctx.call_sub_orchestrator("no-such-orchestration")
    except Exception as error:
        missing = str(error)
    return [child[0], missing]


@app.orchestration_trigger(context_name="ctx")
def waiting(ctx: Any, _: Any) -> Orchestration:
    return (yield ctx.wait_for_external_event("go"))


@app.orchestration_trigger(context_name="ctx", orchestration="collects")
def collecting(ctx: Any, seen: list[int]) -> Orchestration:
    seen.append((yield ctx.wait_for_external_event("number")))
    if len(seen) == 20:
        return seen
    ctx.continue_as_new(seen, save_events=True)


@app.orchestration_trigger(context_name="ctx")
def sleeping(ctx: Any, milliseconds: int) -> Orchestration:
    yield ctx.create_timer(timedelta(milliseconds=milliseconds))
    return "awake"


@app.orchestration_trigger(context_name="ctx")
def counting(ctx: Any, key: str) -> Orchestration:
    counter = EntityInstanceId("Counter", key)
    ctx.signal_entity(counter, "add", input=4)
    yield ctx.call_entity(counter, "add", input=3)
    return (yield ctx.call_entity(counter, "get"))


@app.orchestration_trigger(context_name="ctx")
def haunted(ctx: Any, _: Any) -> Orchestration:
    return (yield ctx.call_entity(EntityInstanceId("NoSuchEntity", "x"), "get"))


@app.entity_trigger(context_name="context", entity_name="Counter")  # pyright: ignore[reportArgumentType] - the v1 style
def counter(context: df.DurableEntityContext) -> None:
    total = context.get_state(lambda: 0)
    if context.operation_name == "add":
        total += context.get_input()
    context.set_state(total)
    context.set_result(total)


@app.route("sync/{name}")
@app.durable_client_input(client_name="client")
def start_sync(req: func.HttpRequest, client: Any) -> func.HttpResponse:
    instance_id = client.schedule_new_orchestration(req.route_params["name"], input="sync")
    return client.create_check_status_response(req, instance_id)
