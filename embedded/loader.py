"""An app folder -> its functions, as the Functions Python worker indexes them."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from azure.functions.decorators.function_app import Function as IndexedFunction
from azure.functions.decorators.function_app import FunctionRegister

from embedded.errors import StartError

MODULE = "function_app"  # Durable's JSON names classes by module, so it must be the same at every start

DurableKind = Literal["orchestration", "activity", "entity"]
AuthLevel = Literal["anonymous", "function", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One registered function and the names of the parameters that the host must fill."""

    name: str
    handle: Callable[..., Any]
    parameter: str
    clients: tuple[str, ...]
    takes_context: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFunction(Function):
    route: str
    methods: tuple[str, ...]  # empty: every method
    auth_level: AuthLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFunction(Function):
    schedule: str
    run_on_startup: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableFunction(Function):
    kind: DurableKind
    registered: str  # the name that clients and orchestrations call it by


class App:
    """A loaded app folder. One app at a time may use a top-level module name; `unload` gives the names back."""

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = app_dir
        self._shadowed = sys.modules.get(MODULE)
        self._modules_before = set(sys.modules)
        self._loaded: list[str] = []

    def load(self) -> tuple[Function, ...]:
        """Import `function_app.py`. Raises StartError, with the cause, when there is no app to serve."""
        sys.path.insert(0, str(self._app_dir))
        importlib.invalidate_caches()
        try:
            return _index(_import(self._app_dir / f"{MODULE}.py"))
        finally:
            self._loaded = self._own_modules()

    def unload(self) -> None:
        """Forget the app's modules, so that another folder's modules of the same names can be imported."""
        for name in self._loaded:
            sys.modules.pop(name, None)
        if self._shadowed is None:
            sys.modules.pop(MODULE, None)
        else:
            sys.modules[MODULE] = self._shadowed
        if str(self._app_dir) in sys.path:
            sys.path.remove(str(self._app_dir))

    def _own_modules(self) -> list[str]:
        # Installed packages stay even when the virtual environment lies inside the app folder: many cannot be
        # imported twice.
        own: list[str] = []
        for name in set(sys.modules) - self._modules_before:
            file = getattr(sys.modules[name], "__file__", None)
            path = Path(file) if file else None
            if path and path.is_relative_to(self._app_dir) and "site-packages" not in path.parts:
                own.append(name)
        return own


def _import(path: Path) -> ModuleType:
    if not path.is_file():
        raise StartError(f"{path.parent} has no {path.name}")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[MODULE] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise StartError(f"importing {path} failed: {type(error).__name__}: {error}") from error
    return module


def _index(module: ModuleType) -> tuple[Function, ...]:
    apps = {id(value): value for value in vars(module).values() if isinstance(value, FunctionRegister)}
    if len(apps) != 1:
        found = "no FunctionApp" if not apps else f"{len(apps)} FunctionApps"
        raise StartError(f"{module.__file__} has {found}; it must have one, such as `app = df.DFApp()`")
    (app,) = apps.values()
    try:
        indexed: list[IndexedFunction] = app.get_functions()
    except Exception as error:  # the decorators' own validation: duplicate names, missing trigger
        raise StartError(f"{module.__file__}: {error}") from error
    return tuple(_function(function) for function in indexed)


def _function(indexed: IndexedFunction) -> Function:
    trigger: Any = indexed.get_trigger()
    name = str(indexed.get_function_name())
    handle = indexed.get_user_function()
    parameters = inspect.signature(handle).parameters
    bindings: list[Any] = list(indexed.get_bindings())
    others = {binding.type for binding in bindings if binding is not trigger} - {"durableClient", "http"}
    if others:
        raise StartError(f"function {name}: binding {', '.join(sorted(others))} is not served by this host")
    for binding in bindings:
        if binding.name not in parameters and binding.type != "http":
            raise StartError(f"function {name}: binding '{binding.name}' is not one of its parameters")
    common: dict[str, Any] = {
        "name": name,
        "handle": handle,
        "parameter": trigger.name,
        "clients": tuple(binding.name for binding in bindings if binding.type == "durableClient"),
        "takes_context": "context" in parameters and all(binding.name != "context" for binding in bindings),
    }
    match trigger.type:
        case "httpTrigger":
            methods = tuple(str(getattr(method, "value", method)).upper() for method in trigger.methods or ())
            level = cast(AuthLevel, getattr(trigger.auth_level, "value", trigger.auth_level) or "function")
            return HttpFunction(**common, route=trigger.route, methods=methods, auth_level=level)
        case "timerTrigger":
            return TimerFunction(**common, schedule=trigger.schedule, run_on_startup=bool(trigger.run_on_startup))
        case "orchestrationTrigger":
            return DurableFunction(**common, kind="orchestration", registered=trigger.orchestration or name)
        case "activityTrigger":
            return DurableFunction(**common, kind="activity", registered=trigger.activity or name)
        case "entityTrigger":
            # Entity ids are case-insensitive: the protocol carries the name in lower case.
            return DurableFunction(**common, kind="entity", registered=(trigger.entity_name or name).lower())
        case other:
            raise StartError(f"function {name}: {other} is not served by this host")
