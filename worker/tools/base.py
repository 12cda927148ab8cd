"""What a tool is: a typed function with a name, a description and a strict JSON Schema."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nightshift.errors import ModelRetry, NightshiftError, Permanent, UserError
from nightshift.models import Approval, Effect, FileRef, Model
from worker import policy
from worker.approvals import NEEDED
from worker.tools import nearby
from worker.tools.workbench import Workbench

logger = logging.getLogger(__name__)

NOT_STRICT = {"title", "default", "maxLength", "minLength", "pattern"}
"""Keywords that strict schemas do not know; pydantic checks them anyway."""


@dataclass(frozen=True)
class Output:
    """What the model reads, and what changed outside the log."""

    text: str
    effect: Effect | None = None
    is_error: bool = False
    files: Sequence[FileRef] = ()
    """Images among them are put before the model."""


@dataclass(frozen=True)
class Tool[Arguments: Model]:
    name: str
    description: str
    arguments: type[Arguments]
    function: Callable[[Arguments, Workbench], Awaitable[Output | str]]
    repeatable: bool = False
    """Doing it twice is doing it once: after a restart a call without an output is simply made again."""
    reads: bool = False
    """It only looks, so that several may run side by side."""

    def schema(self) -> dict[str, Any]:
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": strict(self.arguments.model_json_schema()),
            "strict": True,
        }

    async def __call__(self, arguments: str, bench: Workbench) -> Output:
        """Whatever goes wrong becomes text for the model, but for what concerns the worker itself."""
        output = await self._attempt(arguments, bench)
        if push := bench.asked.pop(bench.item_id, None):
            return asks(push, f"{output.text}\n\n")
        return output

    async def _attempt(self, arguments: str, bench: Workbench) -> Output:
        try:
            given = self.arguments.model_validate_json(arguments)
            approval = policy.judge(self.name, given.model_dump(), bench.place())
            if approval and not await bench.allows(approval):
                return asks(approval)
            answer = await self.function(given, bench)
            output = answer if isinstance(answer, Output) else Output(answer)
            return replace(output, text=output.text + await nearby.knowledge_at(_place(self.name, given, bench), bench))
        except ValidationError as fault:
            return Output(f"The arguments of {self.name} are not valid: {_problems(fault)}", is_error=True)
        except ModelRetry as fault:
            return Output(str(fault), is_error=True)
        except UserError:  # the control plane no longer wants this worker
            raise
        except NightshiftError as fault:
            advice = fault.advice if isinstance(fault, Permanent) else "Try again later."
            return Output(f"{fault} {advice}".strip(), is_error=True)
        except Exception as fault:
            logger.exception("tool %s failed", self.name)
            return Output(f"{self.name} failed: {type(fault).__name__}: {fault}", is_error=True)


def tool[Arguments: Model](
    arguments: type[Arguments], *, repeatable: bool = False, reads: bool = False
) -> Callable[[Callable[[Arguments, Workbench], Awaitable[Output | str]]], Tool[Arguments]]:
    """The function's name and docstring are the tool's name and description."""

    def decorate(function: Callable[[Arguments, Workbench], Awaitable[Output | str]]) -> Tool[Arguments]:
        description = " ".join((function.__doc__ or "").split())
        return Tool(function.__name__, description, arguments, function, repeatable, reads)

    return decorate


def strict(schema: Any, *, names: bool = False) -> Any:
    """The schema as strict mode wants it: no defaults, every property required, none besides.

    `names` says that the keys of this mapping are properties' own names, not keywords.
    """
    if isinstance(schema, list):
        return [strict(part) for part in schema]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return schema
    fields: dict[str, Any] = schema  # pyright: ignore[reportUnknownVariableType]
    result = {
        key: strict(value, names=key in ("properties", "$defs"))
        for key, value in fields.items()
        if names or key not in NOT_STRICT
    }
    if "properties" in result and not names:
        result |= {"required": list(result["properties"]), "additionalProperties": False}
    return result


def _place(name: str, given: Model, bench: Workbench) -> Path | None:
    """The folder that a call works in, if it works in one."""
    if isinstance(path := getattr(given, "path", None), str):
        named = bench.path(path)
        return named if os.path.isdir(named) else named.parent
    return bench.cwd() if name == "shell" else None


def asks(approval: Approval, before: str = "") -> Output:
    """What a tool answers instead of doing what wants a yes."""
    text = before + NEEDED.format(reason=approval.reason).replace("\n", " ")
    return Output(text, Effect(approval=approval), is_error=True)


def _problems(fault: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'JSON'}: {e['msg']}" for e in fault.errors())
