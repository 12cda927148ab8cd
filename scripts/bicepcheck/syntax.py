"""A Bicep file as a tree of plain values.

What the checks need and no more: declarations, objects, lists, texts. Whatever is computed stays an `Expression`,
of which only the names that it uses are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bicep.language()))

type Kind = Literal["param", "var", "resource", "module", "output", "type", "func"]


@dataclass(frozen=True)
class Expression:
    """Computed, or a scalar. `text` is its source."""

    line: int
    text: str
    names: frozenset[str]
    functions: frozenset[str]
    literal: str | bool | int | None = None
    """The value of a plain text, number or boolean. None if it is computed, or `null`."""
    options: tuple[Value, ...] = ()
    """Of `a ? b : c`, of a call of union() and of a loop's body: the values it may have or is put together of."""
    is_loop: bool = False


@dataclass(frozen=True)
class Object:
    line: int
    properties: dict[str, Value]
    computed: bool = False
    """Some of its keys are computed, so what is missing cannot be told."""


@dataclass(frozen=True)
class Array:
    line: int
    items: tuple[Value, ...]


type Value = Expression | Object | Array


@dataclass(frozen=True)
class Declaration:
    kind: Kind
    name: str
    line: int
    value: Value | None
    """Of a param its default, of a var or output its value, of a resource or module its body."""
    type: str = ""
    """Of a param or output its type; of a resource TYPE@VERSION, of a module its path."""
    decorators: tuple[str, ...] = ()
    existing: bool = False
    parent: Declaration | None = None
    """Of a resource within a resource."""
    condition: Value | None = None
    locals: frozenset[str] = frozenset()
    """Variables of its loop."""


@dataclass
class Source:
    path: Path
    declarations: list[Declaration] = field(default_factory=list[Declaration])
    errors: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    scope: str = "resourceGroup"
    using: str = ""

    def of(self, *kinds: Kind) -> list[Declaration]:
        return [each for each in self.declarations if each.kind in kinds]

    def named(self, name: str) -> Declaration | None:
        return next((each for each in self.declarations if each.name == name and each.parent is None), None)


def parse(path: Path) -> Source:
    root = _PARSER.parse(path.read_bytes()).root_node
    source = Source(path)
    source.errors = list(_errors(root, parameters=path.suffix == ".bicepparam"))
    decorators: tuple[str, ...] = ()
    for node in root.named_children:
        if node.type == "decorators":
            decorators = tuple(_text(each.named_children[0]) for each in node.named_children)
            continue
        _declare(node, source, decorators, None)
        decorators = ()
    return source


def _declare(node: Node, source: Source, decorators: tuple[str, ...], parent: Declaration | None) -> None:
    children, line = node.named_children, node.start_point.row + 1
    match node.type:
        case "target_scope_assignment":
            source.scope = _content(children[0])
        case "using_statement":
            source.using = _content(children[0])
        case "parameter_declaration":
            # In a .bicepparam file a parameter has a value and no type, for which the grammar reports a missing word.
            words = [each for each in children if not each.is_missing]
            type_node = next((each for each in words[1:2] if each.type in _TYPES), None)
            values = words[2:] if type_node else words[1:]
            source.declarations.append(
                Declaration(
                    "param",
                    _text(words[0]),
                    line,
                    _value(values[0]) if values else None,
                    type=_text(type_node) if type_node else "",
                    decorators=decorators,
                )
            )
        case "variable_declaration":
            source.declarations.append(Declaration("var", _text(children[0]), line, _value(children[-1])))
        case "output_declaration":
            value = _value(children[-1])
            source.declarations.append(
                Declaration("output", _text(children[0]), line, value, _text(children[1]), decorators)
            )
        case "type_declaration":
            source.declarations.append(Declaration("type", _text(children[0]), line, _value(children[-1])))
        case "resource_declaration" | "module_declaration":
            _resource(node, source, decorators, parent)
        case _:
            pass


_TYPES = {"type", "primitive_type", "array_type", "union_type", "nullable_type", "custom_type", "object"}


def _resource(node: Node, source: Source, decorators: tuple[str, ...], parent: Declaration | None) -> None:
    name, of_type, *rest = node.named_children
    body = rest[-1]
    locals_: set[str] = set()
    condition: Value | None = None
    while body.type in ("for_statement", "if_statement"):
        if body.type == "for_statement":
            locals_ |= _loop_names(body)
        else:
            condition = _value(body.named_children[0])
        body = body.named_children[-1]
    declaration = Declaration(
        "resource" if node.type == "resource_declaration" else "module",
        _text(name),
        node.start_point.row + 1,
        _value(body),
        type=_content(of_type),
        decorators=decorators,
        existing=any(each.type == "existing" or _text(each) == "existing" for each in node.children),
        parent=parent,
        condition=condition,
        locals=frozenset(locals_),
    )
    source.declarations.append(declaration)
    inner: tuple[str, ...] = ()
    for each in body.named_children:
        if each.type == "decorators":
            inner = tuple(_text(one.named_children[0]) for one in each.named_children)
            continue
        if each.named_children and each.named_children[0].type == "resource_declaration":
            _declare(each.named_children[0], source, inner, declaration)
        inner = ()


def _loop_names(loop: Node) -> set[str]:
    """`for name in` and `for (name, index) in`."""
    first = loop.named_children[0]
    return {_text(first)} if first.type == "identifier" else {_text(each) for each in first.named_children}


def _value(node: Node) -> Value:
    line = node.start_point.row + 1
    match node.type:
        case "object":
            return _object(node)
        case "array":
            return Array(line, tuple(_value(each) for each in node.named_children if each.type != "comment"))
        case "parenthesized_expression":
            return _value(node.named_children[0])
        case _:
            return Expression(
                line,
                _text(node),
                _names(node),
                _functions(node),
                literal=_literal(node),
                options=_options(node),
                is_loop=node.type == "for_statement",
            )


def _object(node: Node) -> Object:
    properties: dict[str, Value] = {}
    computed = False
    for each in node.named_children:
        if each.type != "object_property" or each.named_children[0].type == "resource_declaration":
            continue
        key, value = each.named_children[0], each.named_children[-1]
        if key.type == "string" and any(part.type == "interpolation" for part in key.named_children):
            computed = True
            properties[_text(key)] = _value(value)
        else:
            properties[_content(key) if key.type == "string" else _text(key)] = _value(value)
    return Object(node.start_point.row + 1, properties, computed)


def _options(node: Node) -> tuple[Value, ...]:
    if node.type == "ternary_expression":
        return tuple(_value(each) for each in node.named_children[1:])
    if node.type == "for_statement":
        return (_value(node.named_children[-1]),)
    if node.type == "call_expression" and _text(node.named_children[0]) == "union":
        return tuple(_value(each) for each in node.named_children[1].named_children)
    return ()


def _literal(node: Node) -> str | bool | int | None:
    if node.type == "string" and not any(each.type == "interpolation" for each in node.named_children):
        return _content(node)
    if node.type == "number":
        return int(_text(node))
    if node.type == "boolean":
        return _text(node) == "true"
    return None


def _names(node: Node) -> frozenset[str]:
    """Identifiers that must mean something: not properties, not called functions, not variables of loops inside."""
    found: set[str] = set()
    bound: set[str] = set()
    for each in _walk(node):
        if each.type == "for_statement":
            bound |= _loop_names(each)
        if each.type == "identifier" and not _is_called(each) and not _is_key(each) and not _is_inner(each):
            found.add(_text(each))
    return frozenset(found - bound)


def _functions(node: Node) -> frozenset[str]:
    return frozenset(_text(each) for each in _walk(node) if each.type == "identifier" and _is_called(each))


def _is_called(node: Node) -> bool:
    parent = node.parent
    return parent is not None and parent.type == "call_expression" and parent.named_children[0] == node


def _is_key(node: Node) -> bool:
    parent = node.parent
    return parent is not None and parent.type == "object_property" and parent.named_children[0] == node


def _is_inner(node: Node) -> bool:
    """The second of `outer::inner`, a resource within a resource."""
    parent = node.parent
    return parent is not None and parent.type == "resource_expression" and parent.named_children[0] != node


def names_in(value: Value | None) -> Iterator[Expression]:
    """Every expression in a value."""
    match value:
        case Object():
            for each in value.properties.values():
                yield from names_in(each)
        case Array():
            for each in value.items:
                yield from names_in(each)
        case Expression():
            yield value
        case None:
            pass


def _errors(root: Node, *, parameters: bool) -> Iterator[tuple[int, str]]:
    for node in _walk(root):
        if node.type == "ERROR":
            yield node.start_point.row + 1, f"syntax: '{_text(node)[:60]}' is not understood"
        elif node.is_missing and not (parameters and node.parent is not None and node.parent.type in _TYPELESS):
            yield node.start_point.row + 1, f"syntax: something is missing: {node.type}"


_TYPELESS = {"parameter_declaration", "type"}


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for each in node.children:
        yield from _walk(each)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _content(node: Node) -> str:
    """A text without its quotes."""
    return _text(node)[1:-1] if node.type == "string" else _text(node)
