"""The gate: recorded sessions, replayed work item by work item through the functions that the app registers."""

from __future__ import annotations

import base64
import json
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from typing import Any, cast

import azure.functions as func
from azure.functions import meta
from durabletask.internal import orchestrator_service_pb2 as pb

import function_app
from tests.replay.recording import PAYLOADS, Recording, plain_answer


class Mismatch(AssertionError):
    """Today's orchestrator would not go the way that a session in flight has gone."""


async def replay(recording: Recording) -> None:
    """Raises Mismatch at the first episode that today's orchestrator answers in another way.

    The library looks only at what the past confirms, and there at kinds and names. Here each answer is compared whole,
    so that another input, a later timer or a further call is found as well, also in the last episode.
    """
    for number, (request, recorded) in enumerate(recording.requests(), start=1):
        found = list(differences(recorded, plain_answer(await orchestrate(request))))
        if found:
            where = f"episode {number} of {len(recording.episodes)} goes another way (- recorded, + today):"
            raise Mismatch("\n".join([where, *found, "Sessions in flight would break: see CONTRIBUTING.md, Replay."]))


async def orchestrate(request: pb.OrchestratorRequest) -> pb.OrchestratorResponse:
    """What the Functions host does with an orchestration's work item."""
    events = chain(request.pastEvents, request.newEvents)
    name = [each.executionStarted.name for each in events if each.HasField("executionStarted")][-1]
    body = base64.b64encode(request.SerializeToString()).decode()
    answer = await run("orchestrationTrigger", name, body)
    return pb.OrchestratorResponse.FromString(base64.b64decode(answer))


async def run(trigger: str, name: str, text: str) -> str:
    """Call the app's function by its registered handle. Raises KeyError if there is none of this name."""
    parameter, handle = _functions()[trigger, name]
    registry: Any = func.get_binding_registry()
    converter: Any = registry.get(trigger)
    value = converter.decode(meta.Datum(text, "json"), trigger_metadata=None)
    return converter.encode(await handle(**{parameter: value}), expected_type=None).value


def differences(recorded: Any, today: Any, where: str = "answer", grows: bool = False) -> Iterator[str]:
    """What is not as recorded, a line each. A payload may gain fields: the models give older ones a default."""
    if isinstance(recorded, dict) and isinstance(today, dict):
        was, now = cast(dict[str, Any], recorded), cast(dict[str, Any], today)
        for name in was | now:
            if name not in now:
                yield f"- {where}.{name}: {_short(was[name])}"
            elif name in was:
                yield from differences(was[name], now[name], f"{where}.{name}", grows or name in PAYLOADS)
            elif not grows:
                yield f"+ {where}.{name}: {_short(now[name])}"
    elif isinstance(recorded, list) and isinstance(today, list):
        before, after = cast(list[Any], recorded), cast(list[Any], today)
        for index, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from differences(one, other, f"{where}[{index}]", grows)
        yield from (f"- {where}: {_short(each)}" for each in before[len(after) :])
        yield from (f"+ {where}: {_short(each)}" for each in after[len(before) :])
    elif recorded != today:
        yield f"- {where}: {_short(recorded)}"
        yield f"+ {where}: {_short(today)}"


def _short(value: Any) -> str:
    return textwrap.shorten(json.dumps(value), 300)


@cache
def _functions() -> dict[tuple[str, str], tuple[str, Callable[..., Any]]]:
    """(trigger, name): (parameter, handle). An app lists its functions only once."""
    found: dict[tuple[str, str], tuple[str, Callable[..., Any]]] = {}
    for function in function_app.app.get_functions():
        trigger: Any = function.get_trigger()
        name = getattr(trigger, "orchestration", None) or getattr(trigger, "activity", None)
        found[trigger.type, name or str(function.get_function_name())] = (trigger.name, function.get_user_function())
    return found
