"""The host: what is started, in which order, and how it stops."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
from collections.abc import Coroutine, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, override

import uvicorn
from starlette.applications import Starlette

from embedded.auth import Keys, is_loopback
from embedded.errors import StartError
from embedded.http import HttpTriggers
from embedded.hub import Hub, MemoryHub, connect
from embedded.invocation import Invoker
from embedded.loader import App, DurableFunction, Function, HttpFunction, TimerFunction
from embedded.management import PREFIX, Management
from embedded.pubsub import PubSub
from embedded.settings import Environment, HostSettings, read_app_settings, read_host_json
from embedded.timers import Timers
from embedded.workitems import WorkItems

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 3.0  # for requests, and then for work items
SPARE_THREADS = 16  # so that activities in threads leave some to HTTP and timer functions
ADMIN_KEY = "EMBEDDED_ADMIN_KEY"
PUBSUB = "WebPubSubConnectionString"


class Host:
    """Serves one app folder between `start` and `stop`, on the running event loop.

    `port` 0 takes a free one; `url` then tells. `admin_key` is, by default, that of the environment
    (EMBEDDED_ADMIN_KEY) or a new secret. `hub` is the task hub, in memory by default.
    """

    def __init__(
        self,
        app_dir: str | Path,
        host: str = "127.0.0.1",
        port: int = 7071,
        *,
        admin_key: str | None = None,
        hub: Hub | None = None,
    ) -> None:
        self._app_dir = Path(app_dir).resolve()
        self._host = host
        self._port = port
        self._keys = Keys(admin_key or os.environ.get(ADMIN_KEY) or secrets.token_urlsafe(32), is_loopback(host))
        self._hub: Hub = hub or MemoryHub()
        self._running = AsyncExitStack()
        self._prefix = ""
        self.functions: tuple[Function, ...] = ()

    @property
    def url(self) -> str:
        """Where the host answers, as seen from this machine."""
        named = "127.0.0.1" if self._host in ("0.0.0.0", "::", "") else self._host
        return f"http://{f'[{named}]' if ':' in named else named}:{self._port}"

    async def start(self) -> None:
        """Load the app and serve it. Raises StartError, and leaves nothing behind then."""
        try:
            await self._start(self._running)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop in the reverse order: no new requests, drain, no new work, drain, hub, app. May be repeated."""
        await self._running.aclose()

    def describe(self) -> str:
        """The functions and routes found, one a line."""
        lines: list[str] = []
        for function in self.functions:
            match function:
                case HttpFunction():
                    route = "/".join(part for part in (self._prefix, function.route) if part)
                    detail = f"http           {','.join(function.methods) or 'ANY'} {self.url}/{route}"
                case TimerFunction():
                    detail = f"timer          {function.schedule}"
                case DurableFunction():
                    detail = f"{function.kind:<14} {function.registered}"
                case _:
                    detail = ""
            lines.append(f"  {function.name:<32} {detail}")
        return "\n".join(lines)

    async def _start(self, running: AsyncExitStack) -> None:
        listener = running.enter_context(_listen(self._host, self._port))
        self._port = listener.getsockname()[1]
        environment = Environment()
        running.callback(environment.restore)
        environment.add(read_app_settings(self._app_dir))
        access_key = secrets.token_urlsafe(32)
        endpoint, _, port = self.url.rpartition(":")
        environment.add({PUBSUB: f"Endpoint={endpoint};Port={port};AccessKey={access_key};Version=1.0;"})
        try:
            pubsub = PubSub.from_connection_string(os.environ[PUBSUB])
        except ValueError as error:
            raise StartError(str(error)) from error
        settings = read_host_json(self._app_dir)
        self._prefix = settings.route_prefix

        app = App(self._app_dir)
        running.callback(app.unload)
        self.functions = app.load()
        durable = [function for function in self.functions if isinstance(function, DurableFunction)]

        address = await self._hub.start()
        running.push_async_callback(self._hub.stop)
        channel, stub = connect(address)
        running.push_async_callback(channel.close, None)

        query = f"taskHub={settings.task_hub}&connection=Storage&code={self._keys.admin_key}"
        invoker = Invoker(
            self._app_dir, self._client_configuration(settings, address, query), settings.max_activities + SPARE_THREADS
        )
        running.callback(invoker.close)
        orchestrations = frozenset(each.registered for each in durable if each.kind == "orchestration")
        management = Management(stub, channel, orchestrations, self._keys, query)
        triggers = HttpTriggers(_only(HttpFunction, self.functions), self._prefix, invoker, self._keys)
        timers = Timers(_only(TimerFunction, self.functions), invoker)

        workitems = WorkItems(stub, invoker, durable, settings)
        running.push_async_callback(workitems.drain, DRAIN_SECONDS)
        _in_background(running, workitems.pump())

        web = Starlette(routes=[*pubsub.routes(), *management.routes()])
        web.router.redirect_slashes = False
        web.router.default = triggers
        server = _Server(web)
        serving = asyncio.create_task(server.serve([listener]))
        serving.add_done_callback(lambda _: server.ready.set())
        running.push_async_callback(server.finish, serving)
        running.push_async_callback(triggers.drain, DRAIN_SECONDS)
        await server.ready.wait()
        _in_background(running, timers.run())

    def _client_configuration(self, settings: HostSettings, address: str, query: str) -> str:
        """What a `durable_client_input` binding is given, as the Durable extension words it."""
        return json.dumps(
            {
                "taskHubName": settings.task_hub,
                "connectionName": "Storage",
                "creationUrls": {},
                "managementUrls": {},
                "baseUrl": self.url + PREFIX,
                "httpBaseUrl": self.url + PREFIX,
                "requiredQueryStringParameters": query,
                "rpcBaseUrl": f"http://{address}",
                "maxGrpcMessageSizeInBytes": 2**31 - 1,
                "grpcHttpClientTimeout": "00:01:40",
            }
        )


class _Server(uvicorn.Server):
    """uvicorn on a socket of ours, without its signal handlers: whoever embeds the host has their own."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                log_level="warning",  # uvicorn's own notes on WebSockets quote the query, which holds a token
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=int(DRAIN_SECONDS),
            )
        )
        self.ready = asyncio.Event()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def finish(self, serving: asyncio.Task[None]) -> None:
        self.should_exit = True
        await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _only[F: Function](kind: type[F], functions: tuple[Function, ...]) -> list[F]:
    return [function for function in functions if isinstance(function, kind)]


def _in_background(running: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)

    async def cancel() -> None:
        task.cancel()
        (error,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(error, Exception):
            logger.error("a background task had failed", exc_info=error)

    running.push_async_callback(cancel)
