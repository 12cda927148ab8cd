"""Calling a function the way the Functions Python worker does."""

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import azure.functions as func
from azure.functions import meta

from embedded.loader import Function


class Invoker:
    """Runs functions: coroutines on the event loop, the others in a bounded pool of threads."""

    def __init__(self, app_dir: Path, client_configuration: str, threads: int) -> None:
        self._app_dir = app_dir
        self._client_configuration = client_configuration
        self._pool = ThreadPoolExecutor(threads, "function")

    async def invoke(self, function: Function, value: Any) -> Any:
        """Call `function` with its trigger's value. Raises whatever the function raises."""
        arguments: dict[str, Any] = {function.parameter: value}
        arguments.update(dict.fromkeys(function.clients, self._client_configuration))
        context = InvocationContext(function.name, str(self._app_dir))
        if function.takes_context:
            arguments["context"] = context
        call = partial(function.handle, **arguments)
        if inspect.iscoroutinefunction(function.handle):
            return await call()
        variables = copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: variables.run(_in_thread, context, call))

    def close(self) -> None:
        """Take no more work; a function that is running in a thread cannot be interrupted."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def decode(trigger: str, text: str) -> Any:
    """The value of a trigger, through the converter that the installed libraries registered for it."""
    registry: Any = func.get_binding_registry()
    return registry.get(trigger).decode(meta.Datum(text, "json"), trigger_metadata=None)


def encode(trigger: str, value: Any) -> str:
    """The text of a trigger's return value, by the same converters."""
    registry: Any = func.get_binding_registry()
    return registry.get(trigger).encode(value, expected_type=None).value


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Tracing is left to the app; these are empty."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class RetryContext:
    """The host retries no function by itself."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: None = None


@dataclass(frozen=True, slots=True)
class InvocationContext:
    """What a function sees in its `context` parameter."""

    thread_local_storage: ClassVar[threading.local] = threading.local()

    function_name: str
    function_directory: str
    invocation_id: str = field(default_factory=lambda: str(uuid4()))
    trace_context: TraceContext = TraceContext()
    retry_context: RetryContext = RetryContext()


func.Context.register(InvocationContext)


def _in_thread[T](context: InvocationContext, call: partial[T]) -> T:
    context.thread_local_storage.invocation_id = context.invocation_id
    try:
        return call()
    finally:
        context.thread_local_storage.invocation_id = None
