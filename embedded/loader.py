"""An app folder -> its functions, as the Functions Python worker indexes them."""

import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from azure.functions.decorators.function_app import Function as IndexedFunction
from azure.functions.decorators.function_app import FunctionRegister

from embedded.errors import StartError
from embedded.settings import resolve

MODULE = "function_app"


@dataclass(frozen=True, slots=True)
class Function:
    """One registered function, and which of its parameters the host must fill."""

    name: str
    kind: str  # http, timer, orchestration, activity or entity
    target: str  # its route with the prefix, its schedule, or the name that Durable calls it by
    methods: tuple[str, ...]  # of HTTP; none: every method
    trigger: Any  # what else the decorator was told; its `name` is the parameter
    handle: Callable[..., Any]
    clients: tuple[str, ...]
    takes_context: bool


@contextmanager
def load(app_dir: Path, route_prefix: str) -> Generator[tuple[Function, ...]]:
    """Import `function_app.py`. Raises StartError, with the cause, when there is no app to serve.

    At the end the app's modules are forgotten, so that another folder's modules of the same names can be imported.
    """
    file = app_dir / f"{MODULE}.py"
    if not file.is_file():
        raise StartError(f"{app_dir} has no {file.name}; name the folder of a Functions app with --app-dir")
    shadowed, before = sys.modules.pop(MODULE, None), set(sys.modules)
    own: list[str] = []
    sys.path.insert(0, str(app_dir))
    importlib.invalidate_caches()
    try:
        try:
            module = importlib.import_module(MODULE)
        except Exception as error:
            logging.getLogger(__name__).exception("cannot import %s", file)
            raise StartError(f"importing {file} failed: {type(error).__name__}: {error}") from error
        finally:
            own = [name for name in set(sys.modules) - before if _is_own(sys.modules[name], app_dir)]
        yield tuple(_function(indexed, route_prefix) for indexed in _index(module))
    finally:
        for name in (*own, MODULE):
            sys.modules.pop(name, None)
        if shadowed:
            sys.modules[MODULE] = shadowed
        if str(app_dir) in sys.path:
            sys.path.remove(str(app_dir))


def _is_own(module: ModuleType, app_dir: Path) -> bool:
    # Installed packages stay even when they lie inside the app folder: many cannot be imported twice.
    path = Path(getattr(module, "__file__", None) or "/")
    return path.is_relative_to(app_dir) and "site-packages" not in path.parts


def _index(module: ModuleType) -> list[IndexedFunction]:
    apps = {id(value): value for value in vars(module).values() if isinstance(value, FunctionRegister)}
    if len(apps) != 1:
        found = "no FunctionApp" if not apps else f"{len(apps)} FunctionApps"
        raise StartError(f"{module.__file__} has {found}; it must have one, such as `app = df.DFApp()`")
    (app,) = apps.values()
    try:
        return app.get_functions()
    except Exception as error:  # the decorators' own validation: duplicate names, missing trigger
        raise StartError(f"{module.__file__}: {error}") from error


def _function(indexed: IndexedFunction, route_prefix: str) -> Function:
    trigger: Any = indexed.get_trigger()
    name = str(indexed.get_function_name())
    handle = indexed.get_user_function()
    parameters = inspect.signature(handle).parameters
    bindings: list[Any] = list(indexed.get_bindings())
    for binding in bindings:
        if binding is not trigger and binding.type not in ("durableClient", "http"):
            raise StartError(f"function {name}: binding {binding.type} is not served by this host")
        if binding.name not in parameters and binding.type != "http":
            raise StartError(f"function {name}: binding '{binding.name}' is not one of its parameters")
    match trigger.type:
        case "httpTrigger":
            target = "/".join(part for part in (route_prefix.strip("/"), trigger.route.strip("/")) if part)
        case "timerTrigger":
            target = resolve(trigger.schedule)
        case "orchestrationTrigger":
            target = trigger.orchestration or name
        case "activityTrigger":
            target = trigger.activity or name
        case "entityTrigger":
            # Entity ids are case-insensitive: the protocol carries the name in lower case.
            target = (trigger.entity_name or name).lower()
        case other:
            raise StartError(f"function {name}: {other} is not served by this host")
    methods = tuple(str(method).upper() for method in getattr(trigger, "methods", None) or ())
    clients = tuple(binding.name for binding in bindings if binding.type == "durableClient")
    takes_context = "context" in parameters and all(binding.name != "context" for binding in bindings)
    kind = trigger.type.removesuffix("Trigger")
    return Function(name, kind, target, methods, trigger, handle, clients, takes_context)
