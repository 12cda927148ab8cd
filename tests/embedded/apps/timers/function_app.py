import threading
from typing import Any

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
ticked = threading.Event()
seen: list[Any] = []


@app.timer_trigger(arg_name="timer", schedule="%EMBEDDED_TEST_SCHEDULE%", run_on_startup=False)
@app.durable_client_input(client_name="client")
async def tick(timer: func.TimerRequest, client: Any) -> None:
    await client.schedule_new_orchestration("ticked_orchestration", instance_id="ticked")
    seen.append(timer.past_due)
    ticked.set()


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
def at_start(timer: func.TimerRequest) -> None:
    seen.append("started")


@app.orchestration_trigger(context_name="ctx")
def ticked_orchestration(ctx: Any, _: Any) -> str:
    return "ticked"


@app.route("seen")
def wait(req: func.HttpRequest) -> str:
    assert ticked.wait(20)
    return repr(seen)
