"""The contract as published in github.com/Azure/azure-rest-api-specs, which is too large to be kept here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

from nightshift.testing.contract import Exchange, fits, polling
from nightshift.testing.schema import Schema, problems


class OpenApi:
    """`root`: a checkout of azure-rest-api-specs, or the part of it with the versions that are used."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def request(self, it: Exchange) -> Iterator[str]:
        found = self._find(it)
        if found is None:
            yield f"{it.method} {it.path} {it.query.get('api-version')}: not described"
            return
        described, where = found
        if described["operationId"] != it.operation:
            yield f"it is {described['operationId']}, not {it.operation}"
        parameters = [self._parameter(each, where) for each in described["parameters"]]
        for parameter, there in parameters:
            name, place = parameter["name"], parameter["in"]
            if place == "body":
                yield from problems(it.body, parameter["schema"], there, self._resolve, sent=True)
                continue
            given = {"query": it.query, "header": it.headers}.get(place, {})
            value = next((value for key, value in given.items() if key.casefold() == name.casefold()), None)
            if value is not None and parameter["type"] == "string":
                yield from problems(value, parameter, there, self._resolve, sent=True, at=name)
            elif value is None and parameter.get("required") and place != "path":
                yield f"{place}: '{name}' is missing"
        queries = {parameter["name"] for parameter, _ in parameters if parameter["in"] == "query"}
        # Links to the next page are the service's own: what is in them is its business.
        yield from (f"query: there is no '{name}'" for name in it.query if name not in queries | {"$skiptoken"})
        if it.body is not None and not any(parameter["in"] == "body" for parameter, _ in parameters):
            yield "body: there should be none"

    def answer(self, it: Exchange) -> Iterator[str]:
        found = self._find(it)
        if found is None:
            return  # its request was found wrong already
        described, where = found
        answers = described["responses"]
        if str(it.status) not in answers and it.status < 400:
            yield f"status: {it.status} is not described"
            return
        answer = answers.get(str(it.status)) or answers.get("default")
        if answer is not None and "schema" in answer:
            yield from problems(it.answer, answer["schema"], where, self._resolve, sent=False, at="answer")
        elif it.answer is not None and it.status < 400:
            yield "answer: there should be no body"
        if described.get("x-ms-long-running-operation"):
            yield from polling(it)

    def _find(self, it: Exchange) -> tuple[Schema, str] | None:
        match = re.search(r"/providers/([\w.]+)/", it.path)
        if match is None:
            return None
        for template, operations, where in self._paths(match[1], it.query.get("api-version", "")):
            if fits(template, it.path) and it.method.lower() in operations:
                return operations[it.method.lower()], where
        return None

    @cache  # noqa: B019 - as many as there are providers and versions
    def _paths(self, provider: str, version: str) -> list[tuple[str, Schema, str]]:
        files = (each for each in self._root.glob(f"**/{provider}/**/{version}/*.json") if "examples" not in each.parts)
        return [
            (template, operations, str(file))
            for file in files
            for template, operations in _document(str(file)).get("paths", {}).items()
        ]

    def _resolve(self, reference: str, where: str) -> tuple[Schema, str]:
        name, _, pointer = reference.partition("#")
        file = str((Path(where).parent / name).resolve()) if name else where
        target: Any = _document(file)
        for step in pointer.strip("/").split("/"):
            target = target[step]
        return target, file

    def _parameter(self, parameter: Schema, where: str) -> tuple[Schema, str]:
        return self._resolve(parameter["$ref"], where) if "$ref" in parameter else (parameter, where)


@cache
def _document(file: str) -> Schema:
    return cast(Schema, json.loads(Path(file).read_text("utf-8")))
