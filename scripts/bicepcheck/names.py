"""Every name means something, and modules get what they declare: what the compiler says first."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.bicepcheck.shapes import Finding
from scripts.bicepcheck.syntax import Declaration, Expression, Object, Source, Value, names_in

FUNCTIONS = frozenset(
    {
        "any",
        "array",
        "bool",
        "cidrSubnet",
        "concat",
        "contains",
        "dateTimeAdd",
        "empty",
        "endsWith",
        "environment",
        "first",
        "flatten",
        "format",
        "guid",
        "int",
        "items",
        "join",
        "last",
        "length",
        "loadFileAsBase64",
        "loadJsonContent",
        "loadTextContent",
        "max",
        "min",
        "parseJson",
        "range",
        "readEnvironmentVariable",
        "replace",
        "resourceGroup",
        "resourceId",
        "skip",
        "split",
        "startsWith",
        "string",
        "subscription",
        "subscriptionResourceId",
        "substring",
        "take",
        "tenant",
        "toLower",
        "toUpper",
        "trim",
        "union",
        "uniqueString",
        "uri",
    }
)
"""Of Bicep's functions those that are used here or may well be. Another one is added when it is wanted."""
NAMESPACES = {"az", "sys"}
DECORATORS = {
    "allowed",
    "batchSize",
    "description",
    "maxLength",
    "maxValue",
    "minLength",
    "minValue",
    "sealed",
    "secure",
}
_TYPES = {"string", "int", "bool", "object", "array"}
_OUTPUT = re.compile(r"\b(\w+)(?:!|\[[^]]*\])?\.\??outputs\.(\w+)(?:\.(\w+))?")
_FILE = re.compile(r"\bload(?:TextContent|FileAsBase64|JsonContent)\('([^']+)'")


def check_names(source: Source) -> Iterator[Finding]:
    counted = Counter(_key(each) for each in source.declarations)
    for each in source.declarations:
        if counted[_key(each)] > 1:
            yield each.line, f"'{each.name}' is declared {counted[_key(each)]} times"
        yield from _uses(source, each)
    yield from _unused(source)
    for line, path in _files(source):
        if not (source.path.parent / path).is_file():
            yield line, f"there is no file '{path}'"


def _key(it: Declaration) -> tuple[str, int, bool]:
    """Outputs have names of their own, and so has what is within a resource."""
    return it.name, id(it.parent), it.kind == "output"


def _uses(source: Source, it: Declaration) -> Iterator[Finding]:
    known = {each.name for each in source.declarations if each.parent is None} | NAMESPACES | it.locals
    parent = it.parent
    while parent is not None:
        known |= {each.name for each in source.declarations if each.parent is parent} | parent.locals
        parent = parent.parent
    for decorator in it.decorators:
        if decorator.partition("(")[0] not in DECORATORS:
            yield it.line, f"there is no decorator '{decorator}'"
    if it.kind == "type":
        known |= _TYPES
    elif it.kind in ("param", "output") and source.path.suffix == ".bicep":
        declared = {each.name for each in source.of("type")}
        if it.type not in _TYPES | declared:
            yield it.line, f"'{it.type}' is no type"
    for value in (it.value, it.condition):
        for each in names_in(value):
            for name in sorted(each.names - known):
                yield each.line, f"'{name}' means nothing here"
            for name in sorted(each.functions - FUNCTIONS):
                yield each.line, f"there is no function '{name}'"


def _unused(source: Source) -> Iterator[Finding]:
    text = re.sub(r"(?<!:)//.*", "", source.path.read_text())
    for each in source.of("param", "var", "type") if not source.using else source.of("var"):
        if len(re.findall(rf"\b{each.name}\b", text)) < 2:
            yield each.line, f"'{each.name}' is never used"


def _files(source: Source) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.path.read_text().splitlines(), 1):
        yield from ((number, path) for path in _FILE.findall(line))


# --- modules ----------------------------------------------------------------------------------------------


def check_modules(source: Source, sources: dict[Path, Source]) -> Iterator[Finding]:
    targets: dict[str, Source] = {}
    for each in source.of("module"):
        target = sources.get((source.path.parent / each.type).resolve())
        if target is None:
            yield each.line, f"there is no module '{each.type}'"
        elif isinstance(each.value, Object):
            targets[each.name] = target
            yield from _arguments(each, each.value, target)
            yield from _scope(source, each, each.value, target)
    for number, line in enumerate(source.path.read_text().splitlines(), 1):
        for module, output, part in _OUTPUT.findall(line):
            if module in targets:
                yield from ((number, text) for text in _output(module, targets[module], output, part))


def _arguments(it: Declaration, body: Object, target: Source) -> Iterator[Finding]:
    params = body.properties.get("params")
    given = params.properties if isinstance(params, Object) else {}
    declared = {each.name: each for each in target.of("param")}
    for name, value in given.items():
        if name not in declared:
            yield value.line, f"module '{it.type}' has no parameter '{name}'"
        elif not _fits(value, declared[name].type):
            yield value.line, f"parameter '{name}' of '{it.type}' should be {declared[name].type}"
    for name, each in declared.items():
        if name not in given and each.value is None:
            yield it.line, f"module '{it.type}' needs the parameter '{name}'"


def _fits(value: Value, type_: str) -> bool:
    if isinstance(value, Object):
        return type_ not in ("string", "int", "bool", "array")
    if not isinstance(value, Expression):
        return type_ not in ("string", "int", "bool", "object")
    literal = value.literal
    kind = None if literal is None else {str: "string", bool: "bool", int: "int"}[type(literal)]
    return kind is None or type_ == kind or type_ not in _TYPES


def _scope(source: Source, it: Declaration, body: Object, target: Source) -> Iterator[Finding]:
    if source.scope == "subscription" and target.scope == "resourceGroup" and "scope" not in body.properties:
        yield it.line, f"module '{it.type}' is for a resource group and needs a scope"
    if target.scope == "subscription" and ("scope" in body.properties or source.scope != "subscription"):
        yield it.line, f"module '{it.type}' is for the subscription"


def _output(module: str, target: Source, output: str, part: str) -> Iterator[str]:
    found = next((each for each in target.of("output") if each.name == output), None)
    if found is None:
        yield f"module '{module}' ({target.path.name}) has no output '{output}'"
    elif part and isinstance(found.value, Object) and part not in found.value.properties:
        yield f"output '{output}' of '{module}' has no '{part}'"


# --- parameter files --------------------------------------------------------------------------------------


def check_parameters(source: Source, sources: dict[Path, Source]) -> Iterator[Finding]:
    target = sources.get((source.path.parent / source.using).resolve())
    if target is None:
        yield 1, f"'using' names no template: '{source.using}'"
        return
    declared = {each.name: each for each in target.of("param")}
    given = {each.name for each in source.of("param")}
    for each in source.of("param"):
        if each.name not in declared:
            yield each.line, f"{target.path.name} has no parameter '{each.name}'"
    for name, each in declared.items():
        if name not in given and each.value is None:
            yield 1, f"{target.path.name} needs the parameter '{name}'"


def check_sizes(source: Source, folder: Path) -> Iterator[tuple[Path, Finding]]:
    """The environments' JSON against the type `Size` of the template."""
    declared = next((each.value for each in source.of("type") if each.name == "Size"), None)
    if not isinstance(declared, Object):
        return
    kinds: dict[str, type | tuple[type, ...]] = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}
    for path in sorted(folder.glob("*.json")):
        sizes: dict[str, Any] = json.loads(path.read_text())
        for name in sorted(declared.properties.keys() ^ sizes.keys()):
            yield path, (1, f"'{name}' is " + ("missing" if name in declared.properties else "not in the type Size"))
        for name, value in declared.properties.items():
            wanted = value.text if isinstance(value, Expression) else "object"
            if name in sizes and type(sizes[name]) is not kinds[wanted]:
                yield path, (1, f"'{name}' should be {wanted}")
