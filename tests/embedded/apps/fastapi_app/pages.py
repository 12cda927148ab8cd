from contextvars import ContextVar
from typing import Any

from fastapi import FastAPI, Request, Response

durable: ContextVar[Any] = ContextVar("durable")
api = FastAPI()


@api.get("/v1/double/{number}")
async def double(number: int) -> dict[str, Any]:
    instance_id = await durable.get().schedule_new_orchestration("double", input=number)
    state = await durable.get().wait_for_orchestration_completion(instance_id, timeout=10)
    return {"output": state.get_output()}


@api.post("/v1/body")
async def body(request: Request) -> Response:
    return Response(await request.body(), media_type="image/png", headers={"x-query": request.query_params["q"]})
