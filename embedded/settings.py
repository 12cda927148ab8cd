"""The app folder's own configuration: host.json and local.settings.json."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from embedded.errors import StartError

DEFAULT_TASK_HUB = "TestHubName"  # as the Durable extension names it when host.json does not


@dataclass(frozen=True, slots=True)
class HostSettings:
    """The part of host.json that means something here; the rest is ignored."""

    route_prefix: str
    task_hub: str
    max_activities: int
    max_orchestrations: int


def read_host_json(app_dir: Path) -> HostSettings:
    """Read host.json; without the file every setting has its default. Raises StartError."""
    document = _read_object(app_dir / "host.json")
    durable = _object(document, "extensions", "durableTask")
    return HostSettings(
        route_prefix=_typed(_object(document, "extensions", "http"), "routePrefix", "api").strip("/"),
        task_hub=resolve(_typed(durable, "hubName", DEFAULT_TASK_HUB)),
        max_activities=_typed(durable, "maxConcurrentActivityFunctions", 32),
        max_orchestrations=_typed(durable, "maxConcurrentOrchestratorFunctions", 32),
    )


def read_app_settings(app_dir: Path) -> dict[str, str]:
    """Read `Values` of local.settings.json; no file is no settings. Raises StartError."""
    document = _read_object(app_dir / "local.settings.json")
    if document.get("IsEncrypted"):
        raise StartError("local.settings.json is encrypted; run `func settings decrypt` first")
    return {name: str(value) for name, value in _object(document, "Values").items()}


def resolve(text: str) -> str:
    """Replace `%NAME%` by the app setting of that name; an unknown name stays as it is."""
    return re.sub(r"%(\w+)%", lambda match: os.environ.get(match[1], match[0]), text)


class Environment:
    """Variables added to os.environ until `restore`; a variable that is already there wins."""

    def __init__(self) -> None:
        self._added: list[str] = []

    def add(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            if name not in os.environ:
                os.environ[name] = value
                self._added.append(name)

    def restore(self) -> None:
        for name in self._added:
            os.environ.pop(name, None)
        self._added.clear()


def _read_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StartError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise StartError(f"{path}: must be a JSON object")
    return cast(dict[str, Any], document)


def _object(document: dict[str, Any], *path: str) -> dict[str, Any]:
    for name in path:
        value = document.get(name, {})
        if not isinstance(value, dict):
            raise StartError(f"{'.'.join(path)}: '{name}' must be a JSON object")
        document = cast(dict[str, Any], value)
    return document


def _typed[T: (str, int)](document: dict[str, Any], name: str, default: T) -> T:
    value = document.get(name, default)
    if type(value) is not type(default):
        raise StartError(f"host.json: '{name}' must be a {type(default).__name__}, not {value!r}")
    return cast(T, value)
