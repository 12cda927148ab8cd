"""The commands of a bash script, as far as they can be read without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

type Words = tuple[str, ...]

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
PREFIXES: dict[str, Words] = {
    "sudo": ("-u", "-g", "-h", "-p", "-C", "-D"),
    "doas": ("-u",),
    "env": ("-u", "-C", "-S"),
    "nice": ("-n",),
    "ionice": ("-c", "-n"),
    "timeout": ("-k", "-s"),
    "xargs": ("-n", "-I", "-P", "-L", "-d", "-a", "-s"),
    **dict.fromkeys(("nohup", "setsid", "stdbuf", "time", "command", "builtin", "exec"), ()),
}
"""Commands that run another one, with those of their options that take a word."""
DEEPEST = 5


@dataclass(frozen=True)
class Command:
    words: Words
    """Quotes removed, nothing expanded: `$HOME` and `~` stay as they are written."""
    prefixes: Words = ()
    """What it is run by: `sudo`, `env` ..."""
    files: Words = ()
    """Targets of its redirections."""
    fed_by: tuple[Words, ...] = ()
    """The commands before it in its pipeline."""
    given: tuple[Words, ...] = ()
    """The commands whose output is among its words: $(...) and <(...)."""

    @property
    def name(self) -> str:
        return _name(self.words[0])


def commands(script: str, depth: int = 0) -> Iterator[Command]:
    """All of them, wherever they are nested, with those of `bash -c`, `eval` and here-documents for a shell."""
    tree = _parser().parse(script.encode(errors="replace"))
    for node in _find(tree.root_node):
        words = _words(node)
        if not words:
            continue
        prefixes, inner = _unwrap(words)
        if not inner:
            continue
        command = Command(inner, prefixes, _files(node), tuple(_fed_by(node)), tuple(_given(node)))
        yield command
        if depth < DEEPEST:
            for text in _scripts(command, node):
                yield from commands(text, depth + 1)


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


def _find(node: Node) -> Iterator[Node]:
    if node.type == "command":
        yield node
    for child in node.named_children:
        yield from _find(child)


def _words(command: Node) -> Words:
    parts: list[str] = []
    for child in command.named_children:
        if child.type == "command_name":
            parts += [_text(part) for part in child.named_children]
        elif child.type not in ("variable_assignment", "file_redirect", "herestring_redirect", "heredoc_redirect"):
            parts.append(_text(child))
    return tuple(parts)


def _text(node: Node) -> str:
    source = (node.text or b"").decode()
    match node.type:
        case "raw_string":
            return source[1:-1]
        case "ansi_c_string":
            return source[2:-1]
        case "word":
            return source.replace("\\", "")
        case "expansion" if source[2:-1].isidentifier():
            return f"${source[2:-1]}"
        case "string":
            inner = node.named_children
            if not inner:
                return source[1:-1]
            text = b"" if node.text is None else node.text
            pieces, at = "", 1
            for child in inner:  # what stands between the children is text, too
                pieces += text[at : child.start_byte - node.start_byte].decode() + _text(child)
                at = child.end_byte - node.start_byte
            return pieces + text[at:-1].decode()
        case "concatenation":
            return "".join(_text(child) for child in node.named_children)
        case _:
            return source


def _name(word: str) -> str:
    return word.rpartition("/")[2]


def _unwrap(words: Words) -> tuple[Words, Words]:
    prefixes: list[str] = []
    while words and (name := _name(words[0])) in PREFIXES:
        prefixes.append(name)
        rest = list(words[1:])
        while rest and (rest[0].startswith("-") or (name == "env" and "=" in rest[0])):
            option = rest.pop(0)
            if option in PREFIXES[name] and rest:
                rest.pop(0)
        if not rest:
            break
        words = tuple(rest[1:] if name == "timeout" else rest)
    return tuple(prefixes), words


def _files(command: Node) -> Words:
    owners = [command]
    if command.parent and command.parent.type == "redirected_statement":
        owners.append(command.parent)
    redirects = [child for owner in owners for child in owner.named_children if child.type == "file_redirect"]
    return tuple(_text(target) for redirect in redirects if (target := redirect.child_by_field_name("destination")))


def _fed_by(command: Node) -> Iterator[Words]:
    node: Node | None = command
    while node and node.parent:
        if node.parent.type == "pipeline":
            for earlier in node.parent.named_children:
                if earlier.start_byte < node.start_byte:
                    yield from (_unwrap(_words(found))[1] for found in _find(earlier))
        node = node.parent


def _given(command: Node) -> Iterator[Words]:
    for child in command.named_children:
        yield from (_unwrap(_words(found))[1] for found in _find(child))


def _scripts(command: Command, node: Node) -> Iterator[str]:
    words = command.words
    if command.name == "eval":
        yield " ".join(words[1:])
    if command.name not in SHELLS:
        return
    for at, word in enumerate(words[1:-1], 1):
        if word.startswith("-") and not word.startswith("--") and "c" in word:
            yield words[at + 1]
            return
    owner = node.parent if node.parent and node.parent.type == "redirected_statement" else node
    for child in owner.named_children:
        for part in child.named_children if child.type in ("heredoc_redirect", "herestring_redirect") else ():
            if part.type in ("heredoc_body", "string", "raw_string"):
                yield _text(part)
