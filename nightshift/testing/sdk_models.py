"""The contract as the models of the installed azure-mgmt-compute have it.

They are generated from the published documents, of the SDK's newest API version. They know properties, their types
and values, what is required and what only the service writes; they know no query, no header, no Microsoft.Network.
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any, cast

from azure.mgmt.compute import models

from nightshift.testing.contract import OPERATIONS, Exchange, Operation, polling
from nightshift.testing.schema import Schema, problems


class SdkModels:
    def request(self, it: Exchange) -> Iterator[str]:
        operation = _known(it)
        if operation.body is not None:
            yield from _check(it.body, operation.body, sent=True)
        elif it.body is not None:
            yield "body: there should be none"

    def answer(self, it: Exchange) -> Iterator[str]:
        operation = _known(it)
        if it.status >= 400:
            yield from _check(it.answer, "CloudError", sent=False)
        elif it.status not in operation.answers:
            yield f"status: {it.status} is not described"
        elif "Microsoft.Network" not in it.path:
            model = operation.answers[it.status]
            if model is not None:
                yield from _check(it.answer, model, sent=False)
            elif it.answer is not None:
                yield "answer: there should be no body"
        yield from polling(it)


def _known(it: Exchange) -> Operation:
    return next(each for each in OPERATIONS if each.name == it.operation)


def _check(value: Any, model: str, *, sent: bool) -> Iterator[str]:
    schema: Schema = {"$ref": model.strip("[]")}
    if model.startswith("["):
        page = {"value": {"type": "array", "items": schema}, "nextLink": {"type": "string"}}
        schema = {"type": "object", "properties": page, "required": ["value"]}
    yield from problems(value, schema, "", _resolve, sent=sent)


@cache
def _resolve(name: str, where: str) -> tuple[Schema, str]:
    model = getattr(models, name)
    hints = typing.get_type_hints(model, vars(inspect.getmodule(model)) | {"_models": models})
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for owner in reversed(model.__mro__):
        fields = cast(dict[str, Any], vars(owner))
        for attribute, rest in fields.items():
            if not hasattr(rest, "_visibility"):
                continue
            name = rest._rest_name_input or attribute
            hint = hints[attribute]
            properties[name] = _schema(hint)
            if rest._visibility == ["read"]:
                properties[name] |= {"readOnly": True}
            if type(None) not in typing.get_args(hint):
                required.append(name)
    return {"type": "object", "properties": properties, "required": required}, ""


def _schema(hint: Any) -> Schema:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        choices = [each for each in arguments if each is not type(None)]
        enums = [each for each in choices if inspect.isclass(each) and issubclass(each, enum.Enum)]
        if enums:
            return {"type": "string", "enum": [member.value for member in enums[0]]}
        return _schema(choices[0])
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    plain: dict[Any, Schema] = {
        str: {"type": "string"},
        int: {"type": "integer"},
        float: {"type": "number"},
        bool: {"type": "boolean"},
        datetime: {"type": "string", "format": "date-time"},
    }
    if hint in plain:
        return plain[hint]
    if inspect.isclass(hint) and hasattr(hint, "as_dict"):
        return {"$ref": hint.__name__}
    return {}
