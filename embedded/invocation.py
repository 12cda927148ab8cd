"""Calling a function the way the Functions Python worker does."""

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import azure.functions as func
from azure.functions import meta

from embedded.loader import Function

_CONVERTERS: Any = func.get_binding_registry()  # by trigger, as the installed libraries register them


class InvocationContext:
    """What a function sees in its `context` parameter. The host traces nothing and retries no function by itself."""

    thread_local_storage = threading.local()
    trace_context = SimpleNamespace(trace_parent="", trace_state="", attributes={})
    retry_context = SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)

    def __init__(self, function_name: str, function_directory: str) -> None:
        self.function_name = function_name
        self.function_directory = function_directory
        self.invocation_id = str(uuid4())

    def call_in_thread[T](self, call: partial[T]) -> T:
        self.thread_local_storage.invocation_id = self.invocation_id
        return call()


func.Context.register(InvocationContext)


class Invoker:
    """Runs functions: coroutines on the event loop, the others in a bounded pool of threads."""

    def __init__(self, app_dir: Path, client_binding: str, threads: int) -> None:
        self._app_dir = app_dir
        self._client_binding = client_binding
        self._pool = ThreadPoolExecutor(threads, "function")

    async def invoke(self, function: Function, value: Any) -> Any:
        """Call `function` with its trigger's value. Raises whatever the function raises."""
        context = InvocationContext(function.name, str(self._app_dir))
        arguments: dict[str, Any] = {function.trigger.name: value}
        arguments.update(dict.fromkeys(function.clients, self._client_binding))
        if function.takes_context:
            arguments["context"] = context
        call = partial(function.handle, **arguments)
        if inspect.iscoroutinefunction(function.handle):
            return await call()
        variables, loop = copy_context(), asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: variables.run(context.call_in_thread, call))

    def close(self) -> None:
        """Take no more work; a function that is running in a thread cannot be interrupted."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def decode(trigger: str, text: str) -> Any:
    return _CONVERTERS.get(trigger).decode(meta.Datum(text, "json"), trigger_metadata=None)


def encode(trigger: str, value: Any) -> str:
    return _CONVERTERS.get(trigger).encode(value, expected_type=None).value
