"""Configuration of servers of the Model Context Protocol, in the shape that other programs use (`mcp.json`).

It comes from who runs Nightshift, never from a repository: it names programs to start and secrets to give them.
"""

from __future__ import annotations

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


class _File(Model):
    mcp_servers: dict[str, McpServer] = Field(alias="mcpServers")


def parse(text: str, environment: Mapping[str, str]) -> Mcp:
    """The servers that are not disabled. Raises Unprocessable, naming the field that is wrong.

    `environment` has the values of secrets; only those that are named are taken.
    """
    try:
        found = _File.model_validate_json(text).mcp_servers
    except ValidationError as fault:
        raise Unprocessable("; ".join(_problem(error) for error in fault.errors())) from fault
    servers = {name: server for name, server in found.items() if not server.disabled}
    secrets: dict[str, str] = {}
    for name, server in servers.items():
        try:
            if not NAME.fullmatch(name):
                raise ValueError(": a name has up to 32 letters and digits, with single - or _ between")
            for secret in _secrets(server):
                if not environment.get(secret):
                    raise ValueError(f": {secret} is not set")
                secrets[secret] = environment[secret]
        except ValueError as fault:
            raise Unprocessable(f"mcpServers.{name}{fault}") from fault
    return Mcp(servers=servers, secrets=secrets)


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
