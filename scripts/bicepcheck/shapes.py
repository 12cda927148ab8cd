"""A resource's body against the type of its API version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scripts.bicepcheck.syntax import Array, Declaration, Expression, Object, Source, Value

type Finding = tuple[int, str]
type Lazy = Callable[[], Type]


@dataclass(frozen=True)
class Property:
    of: Lazy
    required: bool = False
    read_only: bool = False


@dataclass(frozen=True)
class Type:
    """What a place may hold. Everything that is None or empty is not checked."""

    name: str = "any"
    scalar: type[str] | type[int] | type[bool] | None = None
    literals: frozenset[str] = frozenset()
    """The only values there are, unless `open`."""
    open: bool = False
    properties: dict[str, Property] | None = None
    extra: Lazy | None = None
    """Of properties that are not named; None: there are none."""
    items: Lazy | None = None
    chosen_by: str = ""
    """The property whose value chooses one of `choices`, whose properties come on top."""
    choices: dict[str, Lazy] = field(default_factory=dict[str, Lazy])

    @property
    def is_object(self) -> bool:
        return self.properties is not None or self.extra is not None or bool(self.choices)


ANY = Type()
_OF_BICEP = {"name", "scope", "parent", "dependsOn"}
"""Properties that Bicep itself gives every resource."""


def full_type(declaration: Declaration) -> str:
    """A resource within a resource is written with the end of its type and without its version."""
    if declaration.parent is None:
        return declaration.type
    of_parent, _, version = full_type(declaration.parent).partition("@")
    name, _, own = declaration.type.partition("@")
    return f"{of_parent}/{name}@{own or version}"


def check_resource(source: Source, declaration: Declaration, type_: Type) -> Iterator[Finding]:
    body = declaration.value
    if not isinstance(body, Object):
        yield declaration.line, "a resource's body must be an object"
    elif "name" not in body.properties:
        yield declaration.line, f"'{declaration.name}' has no name"
    elif not declaration.existing:
        yield from _Checker(source).object(body, type_, declaration.name, _OF_BICEP)


def follow(type_: Type, path: list[str]) -> str | None:
    """Which step of a path (a.b.c) the type does not have; None if all are there or nothing is known."""
    for step in path:
        if type_.choices or type_.properties is None:
            return None
        found = type_.properties.get(step)
        if found is None:
            return None if type_.extra else step
        type_ = found.of()
    return None


class _Checker:
    def __init__(self, source: Source) -> None:
        self._source = source

    def value(self, value: Value, type_: Type, path: str) -> Iterator[Finding]:
        match value:
            case Object():
                if type_.is_object:
                    yield from self.object(value, type_, path)
                elif type_.scalar is not None or type_.items is not None:
                    yield value.line, f"'{path}' is an object, but should be {type_.name}"
            case Array():
                if type_.items is not None:
                    for number, item in enumerate(value.items):
                        yield from self.value(item, type_.items(), f"{path}[{number}]")
                elif type_.scalar is not None or type_.is_object:
                    yield value.line, f"'{path}' is a list, but should be {type_.name}"
            case Expression():
                yield from self._expression(value, type_, path)

    def object(self, value: Object, type_: Type, path: str, ignore: set[str] | None = None) -> Iterator[Finding]:
        known = dict(type_.properties or {})
        if type_.choices:
            chosen = _literal(value.properties.get(type_.chosen_by))
            if chosen not in type_.choices:
                yield value.line, f"'{path}.{type_.chosen_by}' must be one of {', '.join(sorted(type_.choices))}"
                return
            known |= type_.choices[chosen]().properties or {}
        for name, each in value.properties.items():
            if not ignore or name not in ignore:
                yield from self._property(name, each, known, type_, f"{path}.{name}")
        for name, property_ in known.items():
            if property_.required and name not in value.properties and not value.computed:
                yield value.line, f"'{path}' lacks '{name}', which is required"

    def _property(
        self, name: str, value: Value, known: dict[str, Property], type_: Type, path: str
    ) -> Iterator[Finding]:
        property_ = known.get(name)
        if property_ is not None:
            if property_.read_only:
                yield value.line, f"'{path}' is read-only"
            yield from self.value(value, property_.of(), path)
        elif type_.extra is not None:
            yield from self.value(value, type_.extra(), path)
        else:
            alike = next((other for other in known if other.lower() == name.lower()), None)
            yield value.line, f"'{path}' is not a property" + (f"; '{alike}' is" if alike else "")

    def _expression(self, value: Expression, type_: Type, path: str) -> Iterator[Finding]:
        if value.is_loop:
            if type_.items is None:
                if type_.scalar is not None or type_.is_object:
                    yield value.line, f"'{path}' is a list, but should be {type_.name}"
                return
            type_ = type_.items()
        for option in value.options:
            yield from self.value(option, type_, path)
        variable = self._source.named(value.text)
        if variable is not None and variable.kind == "var" and variable.value is not None:
            yield from self.value(variable.value, type_, f"{path} ({value.text})")
        literal = value.literal
        if literal is None:
            return
        if type_.is_object or type_.items is not None or (type_.scalar and type(literal) is not type_.scalar):
            yield value.line, f"'{path}' is {value.text}, but should be {type_.name}"
        elif type_.literals and literal not in type_.literals and (not type_.open or _in_another_case(literal, type_)):
            yield value.line, f"'{path}' is {value.text}, not one of {', '.join(sorted(type_.literals))}"


def _literal(value: Value | None) -> str:
    return value.literal if isinstance(value, Expression) and isinstance(value.literal, str) else ""


def _in_another_case(literal: object, type_: Type) -> bool:
    return str(literal).lower() in {each.lower() for each in type_.literals}
