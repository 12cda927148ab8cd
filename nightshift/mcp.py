"""Configuration of servers of the Model Context Protocol, in the shape that other programs use (`mcp.json`).

It comes from who runs Nightshift, or from a person as part of a custom agent, never from a repository: it names
programs to start and secrets to give them. Who runs Nightshift names secrets; a person writes them down, and they are
set apart at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, ValidationError

from nightshift.errors import Unprocessable
from nightshift.models import Mcp, McpServer, Model

NAME = re.compile(r"(?=.{1,32}$)[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
"""Of a server. Tools are called SERVER__TOOL: without __ and without _ at its end, two of them can never meet."""
SECRET = re.compile(r"\$\{(NIGHTSHIFT_MCP_SECRET_[A-Z0-9_]+)\}")
REFERENCE = re.compile(r"\$\{[^}]*\}?")


KEPT = "***"
"""Stands for a value of `env` or `headers` that was set apart."""
_TELLING = re.compile(r"key|token|secret|pass|pwd|auth|cred|cookie|session|connection", re.IGNORECASE)
_PLAIN = re.compile(
    r"[A-Za-z]{0,20}|[\d.:-]*|(/[\w.@-]+)+/?|https?://[\w.:-]+/?|[a-z]+/[a-z+.-]+|[a-z]{2}_[A-Z]{2}\.UTF-8"
)
"""A word, a number, a path, a host, a media type, a locale."""


class McpFile(Model):
    """What stands in an `mcp.json`."""

    mcp_servers: dict[str, McpServer] = Field(alias="mcpServers", max_length=20)


def parse(text: str, environment: Mapping[str, str]) -> Mcp:
    """The servers that are not disabled. Raises Unprocessable, naming the field that is wrong.

    `environment` has the values of secrets; only those that are named are taken.
    """
    try:
        found = McpFile.model_validate_json(text).mcp_servers
    except ValidationError as fault:
        raise Unprocessable("; ".join(_problem(error) for error in fault.errors())) from fault
    servers = {name: server for name, server in found.items() if not server.disabled}
    secrets: dict[str, str] = {}
    for name, server in servers.items():
        try:
            _must_be_a_name(name)
            for secret in _secrets(server):
                if not environment.get(secret):
                    raise ValueError(f": {secret} is not set")
                secrets[secret] = environment[secret]
        except ValueError as fault:
            raise Unprocessable(f"mcpServers.{name}{fault}") from fault
    return Mcp(servers=servers, secrets=secrets)


def read(text: str) -> Any:
    """JSON. Raises ValueError with line and column, or with the name that an object has twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if twice := [name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1]:
            raise ValueError(f"{twice[0]!r} stands there twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as fault:
        raise ValueError(f"line {fault.lineno}, column {fault.colno}: {fault.msg}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def of_a_person(file: McpFile) -> McpFile:
    """Raises ValueError for what only who runs Nightshift may write: the names of its secrets."""
    for name, server in file.mcp_servers.items():
        try:
            _must_be_a_name(name)
            for field, values in _hidden_fields(server):
                for key, value in values.items():
                    if REFERENCE.search(value):
                        raise ValueError(f".{field}.{key}: write the value itself; it is never shown again")
            if "@" in (server.url or "").split("?")[0]:
                raise ValueError(".url: what signs in belongs into headers, since logs and pages show an address")
        except ValueError as fault:
            raise ValueError(f"mcpServers.{name}{fault}") from fault
    return file


def set_apart(file: McpFile, earlier: McpFile | None, known: Mapping[str, str]) -> tuple[McpFile, dict[str, str]]:
    """The servers with KEPT for every value of `env` and `headers`, and these values by their place.

    A KEPT that was there before stands for the earlier value, of those `known`, as long as it would go to the same
    program or address. Raises Unprocessable, naming the place.
    """
    before = earlier.mcp_servers if earlier else {}
    apart: dict[str, McpServer] = {}
    values: dict[str, str] = {}
    for name, server in file.mcp_servers.items():
        same = name in before and _goes_to(before[name]) == _goes_to(server)
        for field, given in _hidden_fields(server):
            for key, value in given.items():
                place = f"mcpServers.{name}.{field}.{key}"
                if value == KEPT and not (same and place in known):
                    raise Unprocessable(
                        f"{place}: {KEPT} keeps a value while name, program or address of its server stay as they are;"
                        " write the value"
                    )
                values[place] = known[place] if value == KEPT else value
        hidden = {field: dict.fromkeys(given, KEPT) for field, given in _hidden_fields(server)}
        apart[name] = server.model_copy(update=hidden)
    return McpFile(mcpServers=apart), values


def joined(common: Mcp, file: McpFile | None, values: Mapping[str, str]) -> Mcp:
    """The deployment's servers and an agent's, which were `set_apart`. What could be a secret is among the secrets, so
    that the worker hides it; where both have a name it is the agent's."""
    if file is None:
        return common
    servers: dict[str, McpServer] = {}
    for name, server in file.mcp_servers.items():
        filled = {
            field: {key: values[f"mcpServers.{name}.{field}.{key}"] for key in given}
            for field, given in _hidden_fields(server)
        }
        if not server.disabled:
            servers[name] = server.model_copy(update=filled)
    secrets = {place: value for place, value in values.items() if _may_be_secret(place.split(".", 3)[-1], value)}
    parts = {
        f"{place}.": value.partition(" ")[2] for place, value in secrets.items() if " " in value
    }  # Bearer X: X, too
    return Mcp(servers={**common.servers, **servers}, secrets={**common.secrets, **secrets, **parts})


def _may_be_secret(name: str, value: str) -> bool:
    """Hiding `production` wherever the agent says it would break its work, so plain values of innocent names pass."""
    return bool(_TELLING.search(name)) or not _PLAIN.fullmatch(value)


def _hidden_fields(server: McpServer) -> tuple[tuple[str, dict[str, str]], ...]:
    return ("env", server.env), ("headers", server.headers)


def _goes_to(server: McpServer) -> tuple[object, ...]:
    return server.command, server.args, server.cwd, server.url


def _must_be_a_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(": a name has up to 32 letters and digits, with single - or _ between")


def _secrets(server: McpServer) -> Iterator[str]:
    """Names of the secrets. Only where nobody reads along: others see a command line, and logs an address."""
    if SECRET.search(" ".join([server.command or "", *server.args, server.cwd or "", server.url or ""])):
        raise ValueError(": a secret may stand in env and headers only")
    for field, values in (("env", server.env), ("headers", server.headers)):
        for name, value in values.items():
            for reference in REFERENCE.findall(value):
                secret = SECRET.fullmatch(reference)
                if not secret:
                    raise ValueError(f".{field}.{name}: {reference} is no secret; write ${{NIGHTSHIFT_MCP_SECRET_...}}")
                yield secret[1]


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
