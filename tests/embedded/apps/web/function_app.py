import asyncio
import threading
from typing import Any

import azure.functions as func

app = func.FunctionApp()
entered = asyncio.Event()


@app.route("echo", auth_level=func.AuthLevel.ANONYMOUS)
def echo(req: func.HttpRequest) -> func.HttpResponse:
    asked: dict[str, str] = dict(req.headers)
    headers = {"x-method": req.method, "x-header": asked.get("x-asked", ""), "x-url": req.url}
    return func.HttpResponse(req.get_body(), headers=headers, mimetype="application/octet-stream", status_code=201)


@app.route("items/{id:int}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def item(req: func.HttpRequest, context: func.Context) -> str:
    return f"item {req.route_params['id']} {req.params.get('q')} {context.function_name}"


@app.route("items/{id:int}", methods=["DELETE"], auth_level=func.AuthLevel.ANONYMOUS)
def remove(req: func.HttpRequest) -> None:
    return None


@app.route("items/special", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def special(req: func.HttpRequest) -> str:
    return "special"


@app.route("files/{*path}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def files(req: func.HttpRequest) -> str:
    return req.route_params.get("path", "none")


@app.route("maybe/{name?}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def maybe(req: func.HttpRequest) -> str:
    return req.route_params.get("name", "none")


@app.route("keyed", auth_level=func.AuthLevel.FUNCTION)
def keyed(req: func.HttpRequest) -> str:
    return "keyed"


@app.route("administered", auth_level=func.AuthLevel.ADMIN)
def administered(req: func.HttpRequest) -> str:
    return "administered"


@app.route("broken", auth_level=func.AuthLevel.ANONYMOUS)
def broken(req: func.HttpRequest) -> str:
    raise RuntimeError("a secret detail")


@app.route("list", auth_level=func.AuthLevel.ANONYMOUS)
def listed(req: func.HttpRequest) -> Any:
    return ["no response"]


@app.route("nothing", auth_level=func.AuthLevel.ANONYMOUS)
async def nothing(req: func.HttpRequest) -> None:
    return None


@app.route("cookies", auth_level=func.AuthLevel.ANONYMOUS)
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse("ok")
    response.headers.add("Set-Cookie", "a=1")
    response.headers.add("Set-Cookie", "b=2")
    return response


@app.route("thread", auth_level=func.AuthLevel.ANONYMOUS)
def thread(req: func.HttpRequest, context: Any) -> str:
    same = context.thread_local_storage.invocation_id == context.invocation_id
    return f"{threading.current_thread() is threading.main_thread()} {same}"


@app.route("endless", auth_level=func.AuthLevel.ANONYMOUS)
async def endless(req: func.HttpRequest) -> None:
    entered.set()
    await asyncio.Event().wait()


@app.route("entered", auth_level=func.AuthLevel.ANONYMOUS)
async def has_entered(req: func.HttpRequest) -> None:
    await entered.wait()
