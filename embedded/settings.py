"""The app folder's own configuration: host.json and local.settings.json."""

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasPath, BaseModel, Field, ValidationError

from embedded.errors import StartError


def _durable(name: str, default: Any, **limits: Any) -> Any:
    return Field(default, validation_alias=AliasPath("extensions", "durableTask", name), **limits)


class HostSettings(BaseModel, strict=True):
    """The part of host.json that means something here; the rest is ignored."""

    route_prefix: str = Field("api", validation_alias=AliasPath("extensions", "http", "routePrefix"))
    task_hub: str = _durable("hubName", "TestHubName")
    max_activities: int = _durable("maxConcurrentActivityFunctions", 32, gt=0)
    max_orchestrations: int = _durable("maxConcurrentOrchestratorFunctions", 32, gt=0)
    max_entities: int = _durable("maxConcurrentEntityFunctions", 32, gt=0)
    default_version: str | None = _durable("defaultVersion", None)
    version_match: Literal["None", "Strict", "CurrentOrOlder"] = _durable("versionMatchStrategy", "CurrentOrOlder")
    version_failure: Literal["Reject", "Fail"] = _durable("versionFailureStrategy", "Reject")

    def runs(self, version: str) -> bool:
        """Whether orchestrations of this version are for this app; an app without a version runs all."""
        if not self.default_version or self.version_match == "None":
            return True
        theirs, ours = version.lower(), self.default_version.lower()
        if all(re.fullmatch(r"\d+(\.\d+){1,3}", each) for each in (theirs, ours)):  # other notations compare as text
            theirs, ours = (re.sub(r"\d+", lambda part: part[0].zfill(10), each) for each in (theirs, ours))
        return theirs == ours if self.version_match == "Strict" else theirs <= ours


class AppSettings(BaseModel):
    """The part of local.settings.json that means something here."""

    is_encrypted: Literal[False] = Field(False, alias="IsEncrypted")  # `func settings decrypt` undoes it
    values: dict[str, Any] = Field({}, alias="Values")


def read[M: BaseModel](model: type[M], path: Path) -> M:
    """Without the file every setting has its default. Raises StartError."""
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8-sig") if path.exists() else "{}")
    except ValidationError as error:
        (fault, *_) = error.errors()
        raise StartError(f"{path}: {'.'.join(map(str, fault['loc']))} {fault['msg']}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{path}: {error}") from None


def resolve(text: str) -> str:
    """Replace `%NAME%` by the app setting of that name; an unknown name stays as it is."""
    return re.sub(r"%(\w+)%", lambda match: os.environ.get(match[1], match[0]), text)


@contextmanager
def variables(values: Mapping[str, Any]) -> Generator[None]:
    """Environment variables for as long as it lasts; one that is already there wins."""
    added = {name: str(value) for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
