from typing import Any

import azure.durable_functions as df
import azure.functions as func
from pages import api, durable

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
asgi = func.AsgiMiddleware(api)


@app.route("{*path}")
@app.durable_client_input(client_name="client")
async def serve(req: func.HttpRequest, client: Any, context: func.Context) -> func.HttpResponse:
    durable.set(client)
    return await asgi.handle_async(req, context)


@app.orchestration_trigger(context_name="ctx")
def double(ctx: Any, number: int) -> int:
    return number * 2
