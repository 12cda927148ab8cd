"""Values against schemas of OpenAPI 2, strictly: what is not described is not allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, cast

type Schema = dict[str, Any]
type Resolve = Callable[[str, str], tuple[Schema, str]]
"""(reference, where it stands) -> (schema, where that stands)"""

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}

_OPEN = ("hardwareProfile.vmSize",)
"""Its list of values is no longer kept up, says its description. Other lists may grow, too, but not by what we send."""


def problems(
    value: Any, schema: Schema, where: str, resolve: Resolve, *, sent: bool, at: str = "body"
) -> Iterator[str]:
    """What is wrong with it, in words. `sent` to the service: then it may hold nothing that only the service writes."""
    if "$ref" in schema:
        target, there = resolve(schema["$ref"], where)
        yield from problems(value, target, there, resolve, sent=sent, at=at)
        return
    kind = schema.get("type") or ("object" if {"properties", "allOf", "additionalProperties"} & schema.keys() else None)
    if kind is None:
        return
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{at}: {value!r} is no {kind}"
    elif kind == "object":
        yield from _object(cast(dict[str, Any], value), schema, where, resolve, sent, at)
    elif kind == "array":
        for number, entry in enumerate(cast(list[Any], value)):
            yield from problems(entry, schema.get("items", {}), where, resolve, sent=sent, at=f"{at}[{number}]")
    else:
        yield from _scalar(value, schema, at)


def _object(value: dict[str, Any], schema: Schema, where: str, resolve: Resolve, sent: bool, at: str) -> Iterator[str]:
    parts = list(_parts(schema, where, resolve))
    known = {name: (field, there) for part, there in parts for name, field in part.get("properties", {}).items()}
    open_to = [(part["additionalProperties"], there) for part, there in parts if "additionalProperties" in part]
    for name in {name for part, _ in parts for name in part.get("required", ())}:
        if name not in value and not (sent and known[name][0].get("readOnly")):
            yield f"{at}: '{name}' is missing"
    for name, entry in value.items():
        here = f"{at}.{name}"
        if name in known:
            field, there = known[name]
            if sent and field.get("readOnly"):
                yield f"{here}: only the service writes it"
            yield from problems(entry, field, there, resolve, sent=sent, at=here)
        elif known and not open_to:
            yield f"{here}: there is no such property"
        for more, there in open_to if name not in known else ():
            if isinstance(more, dict):
                yield from problems(entry, cast(Schema, more), there, resolve, sent=sent, at=here)


def _parts(schema: Schema, where: str, resolve: Resolve) -> Iterator[tuple[Schema, str]]:
    """The schema and all that it is put together from."""
    yield schema, where
    for part in schema.get("allOf", ()):
        target, there = resolve(part["$ref"], where) if "$ref" in part else (part, where)
        yield from _parts(target, there, resolve)


def _scalar(value: Any, schema: Schema, at: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"] and not at.endswith(_OPEN):
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at}: {value!r} does not fit {schema['pattern']}"
    size = len(value) if isinstance(value, str) else value
    if size < schema.get("minLength" if isinstance(value, str) else "minimum", size):
        yield f"{at}: {value!r} is too short or small"
    if size > schema.get("maxLength" if isinstance(value, str) else "maximum", size):
        yield f"{at}: {value!r} is too long or large"
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            yield f"{at}: {value!r} is no time"
