"""The host: what is started, in which order, and how it stops."""

import asyncio
import json
import logging
import os
import secrets
import socket
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, override

import grpc.aio
import uvicorn
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from starlette.applications import Starlette
from starlette.responses import Response

from embedded import callers
from embedded.auth import Keys, is_loopback
from embedded.errors import StartError
from embedded.http import function_endpoints
from embedded.invocation import Invoker
from embedded.loader import Function, load
from embedded.management import PREFIX, Management
from embedded.pubsub import PubSub, own_connection_string
from embedded.settings import AppSettings, HostSettings, read, resolve, variables
from embedded.taskhub import TaskHub
from embedded.timers import Timers
from embedded.workitems import WorkItems

logger = logging.getLogger(__name__)

# A history or a payload may be of any size: gRPC's default of 4 MB is for strangers.
GRPC_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
DRAIN = 3  # seconds for requests, then for timers, then for work items
SPARE_THREADS = 16  # so that activities in threads leave some to HTTP and timer functions
ADMIN_KEY = "EMBEDDED_ADMIN_KEY"
PUBSUB = "WebPubSubConnectionString"


class Host:
    """Serves one app folder between `start` and `stop`, on the running event loop.

    `port` 0 takes a free one; `url` then tells. `admin_key` is, by default, that of the environment
    (EMBEDDED_ADMIN_KEY) or a new secret. `hub` is the file of the task hub; without one nothing outlives the host.
    """

    def __init__(
        self,
        app_dir: str | Path,
        host: str = "127.0.0.1",
        port: int = 7071,
        *,
        admin_key: str | None = None,
        hub: Path | None = None,
    ) -> None:
        self._app_dir = Path(app_dir).resolve()
        self._host = host
        self._port = port
        self._keys = Keys(admin_key or os.environ.get(ADMIN_KEY) or secrets.token_urlsafe(32), is_loopback(host))
        self._hub_file = hub
        self._running = AsyncExitStack()
        self.functions: tuple[Function, ...] = ()

    @property
    def url(self) -> str:
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
            http = f"{','.join(function.methods) or 'ANY'} {self.url}/" if function.kind == "http" else ""
            lines.append(f"  {function.name:<32} {function.kind:<14} {http}{function.target}")
        return "\n".join(lines)

    async def _start(self, running: AsyncExitStack) -> None:
        listener = running.enter_context(_listen(self._host, self._port))
        self._port = listener.getsockname()[1]
        running.enter_context(variables(read(AppSettings, self._app_dir / "local.settings.json").values))
        running.enter_context(variables({PUBSUB: own_connection_string(self.url)}))
        if not callers.TELLS:
            logger.warning(
                "There is no /proc here: what calls from a sandbox or container is taken for your own program"
            )
        pubsub = PubSub.from_connection_string(os.environ[PUBSUB])
        settings = read(HostSettings, self._app_dir / "host.json")
        self.functions = running.enter_context(load(self._app_dir, settings.route_prefix))

        hub = TaskHub(self._hub_file, port=None, default_version=settings.default_version)
        address = await asyncio.to_thread(hub.start)
        running.push_async_callback(asyncio.to_thread, hub.stop)
        channel = await running.enter_async_context(grpc.aio.insecure_channel(address, options=GRPC_OPTIONS))
        stub_of: Any = stubs.TaskHubSidecarServiceStub  # generated, untyped
        stub = stub_of(channel)

        query = f"taskHub={resolve(settings.task_hub)}&connection=Storage&code={self._keys.admin_key}"
        client_binding = {  # what a durable_client_input is given, as the Durable extension words it
            "taskHubName": resolve(settings.task_hub),
            "connectionName": "Storage",
            "baseUrl": self.url + PREFIX,
            "requiredQueryStringParameters": query,
            "rpcBaseUrl": address,
            "maxGrpcMessageSizeInBytes": 2**31 - 1,
        }
        invoker = Invoker(self._app_dir, json.dumps(client_binding), settings.max_activities + SPARE_THREADS)
        running.callback(invoker.close)
        client = AsyncTaskHubGrpcClient(channel=channel, logger=logging.getLogger("durabletask"))
        orchestrations = frozenset(each.target for each in self.functions if each.kind == "orchestration")
        management = Management(stub, client, orchestrations, self._keys, query)
        endpoints = [*function_endpoints(self.functions, invoker, self._keys), *management.endpoints()]
        endpoints.sort(key=lambda endpoint: endpoint.template.rank)
        web = Starlette(routes=[*pubsub.routes(), *endpoints])
        web.router.default = Response(status_code=404)
        timers_file = self._hub_file and self._hub_file.with_name(f"{self._hub_file.name}.timers.json")
        timers = Timers(self.functions, invoker, timers_file)
        workitems = WorkItems(stub, invoker, self.functions, settings)

        workitems.start()
        running.push_async_callback(workitems.drain, DRAIN)
        timers.start()
        running.push_async_callback(timers.drain, DRAIN)
        # uvicorn's notes on WebSockets, less than a warning, quote the query, which holds a token.
        options: dict[str, Any] = {"log_config": None, "log_level": "warning", "proxy_headers": False}
        options["http"] = callers.Protocol
        server = _Server(uvicorn.Config(callers.marking(web), timeout_graceful_shutdown=2 * DRAIN, **options))
        running.push_async_callback(server.finish, asyncio.create_task(server.serve([listener])))


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: whoever embeds the host has their own."""

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def finish(self, serving: asyncio.Task[None]) -> None:
        self.should_exit = True
        await asyncio.wait({serving}, timeout=DRAIN)
        for task in self.server_state.tasks:  # such as long polls; uvicorn would do the same, and call it an error
            task.cancel()
        await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=2048)
        # Accepted sockets inherit it. asyncio sets it only where the protocol was named, and without it the second half
        # of every answer waits for a delayed ACK: 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from None
