"""Where types of resources are published, in a form that can be had here.

    azmcp     PyPI msmcp-azure: Microsoft's Azure MCP server carries Bicep's own types, one version of each resource
    sdk       PyPI azure-mgmt-*: models of the management API, for those that azmcp does not carry
    types-az  a checkout of Azure/bicep-types-az: every version of every resource; from no registry, so by hand only

Each answers None for what it has not. A version other than the one asked for is not an answer.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol, cast

from scripts.bicepcheck.shapes import ANY, Lazy, Property, Type

type Json = dict[str, Any]


class TypeSource(Protocol):
    name: str

    def find(self, resource: str, version: str) -> Type | None: ...


def available(checkout: Path | None = None) -> list[TypeSource]:
    """Best first."""
    from scripts.bicepcheck import sdk  # it imports packages that may not be there

    found: list[TypeSource] = [TypesAz(checkout)] if checkout else []
    command = Path(sys.executable).with_name("azmcp")
    if command.exists() or shutil.which("azmcp"):
        found.append(Azmcp(str(command) if command.exists() else "azmcp"))
    return [*found, sdk.Sdk()]


class Azmcp:
    """Asked as its protocol (MCP) has it, one line of JSON each way: a process for each type would take two seconds."""

    name = "azmcp"

    def __init__(self, command: str) -> None:
        self._command = [command, "server", "start", "--mode", "all", "--namespace", "bicepschema"]
        self._server: subprocess.Popen[str] | None = None
        self._asked = 0
        self._kept: dict[str, tuple[str, dict[str, Json]] | None] = {}

    def find(self, resource: str, version: str) -> Type | None:
        if resource not in self._kept:
            self._kept[resource] = self._ask(resource)
        kept = self._kept[resource]
        if kept is None or kept[0] != version:
            return None
        return self._object(kept[1][f"{resource}@{version}"]["bodyType"], kept[1])

    def _ask(self, resource: str) -> tuple[str, dict[str, Json]] | None:
        if self._server is None:
            self._start()
        arguments = {"name": "bicepschema_get", "arguments": {"resource-type": resource}}
        said = json.loads(self._call("tools/call", arguments)["content"][0]["text"])
        if said["status"] != 200:
            return None
        types = {
            each["name"]: each
            for each in said["results"]["BicepSchemaResult"]
            if not each["$type"].endswith("Function")
        }
        version = next(name.partition("@")[2] for name in types if name.startswith(f"{resource}@"))
        return version, types

    def _start(self) -> None:
        environment = os.environ | {"AZURE_MCP_COLLECT_TELEMETRY": "false"}
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(  # noqa: S603
            self._command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        atexit.register(self.close)
        hello = {
            "protocolVersion": "2025-03-26",
            "capabilities": {},
            "clientInfo": {"name": "bicepcheck", "version": "1"},
        }
        self._call("initialize", hello)
        self._send({"method": "notifications/initialized"})

    def _call(self, method: str, params: Json) -> Json:
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": params})
        assert self._server is not None
        assert self._server.stdout is not None
        for line in self._server.stdout:
            answer = json.loads(line)
            if answer.get("id") == self._asked:
                return answer["result"]
        raise RuntimeError("azmcp ended before it answered")

    def _send(self, message: Json) -> None:
        assert self._server is not None
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._server.stdin.flush()

    def close(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.communicate()
            self._server = None

    def _object(self, body: Json, types: dict[str, Json]) -> Type:
        if body["$type"] == "DiscriminatedObject":
            key = body["discriminator"]
            choices = {_literal(each, key): self._named(each, types) for each in body["elements"]}
            base = self._properties(body["baseProperties"], types)
            return Type(body["name"], properties=base, chosen_by=key, choices=choices)
        extra = body.get("additionalPropertiesType")
        return Type(
            body["name"],
            properties=self._properties(body["properties"], types),
            extra=self._named(extra, types) if extra else None,
        )

    def _properties(self, properties: list[Json], types: dict[str, Json]) -> dict[str, Property]:
        return {
            each["name"]: Property(
                self._named(each["type"], types), "Required" in (flags := each.get("flags", "")), "ReadOnly" in flags
            )
            for each in properties
        }

    def _named(self, name: Any, types: dict[str, Json]) -> Lazy:
        return lambda: self._type(name, types)

    def _type(self, name: Any, types: dict[str, Json]) -> Type:
        if isinstance(name, dict):
            return self._object(cast(Json, name), types)
        if name in types:
            return self._object(types[name], types)
        if name.endswith("[]"):
            return Type(name, items=self._named(name.removesuffix("[]").removeprefix("(").removesuffix(")"), types))
        scalar = {"string": str, "int": int, "bool": bool}.get(name)
        if scalar:
            return Type(name, scalar=scalar)
        words = name.split(" | ")
        literals = frozenset(word for word in words if word != "string")
        if name in ("any", "object", "null") or any(word in types or word.endswith("[]") for word in words):
            return ANY
        if "string" in words or literals:
            return Type(name, scalar=str, literals=literals, open="string" in words)
        return ANY


def _literal(body: Json, key: str) -> str:
    return next(str(each["type"]) for each in body["properties"] if each["name"] == key)


class TypesAz:
    """A clone, bare or not, or a folder of Azure/bicep-types-az."""

    name = "types-az"

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout
        self._files: dict[str, list[Json]] = {}
        listing = self._git("ls-tree", "-r", "--name-only", "HEAD", "generated/")
        self._places: dict[tuple[str, str], list[str]] = {}
        for path in listing.splitlines():
            if match := re.fullmatch(r"generated/[^/]+/([^/]+)/([^/]+)/types\.json", path):
                self._places.setdefault((match[1].lower(), match[2]), []).append(path)

    def find(self, resource: str, version: str) -> Type | None:
        namespace = resource.partition("/")[0].lower()
        for path in self._places.get((namespace, version), []):
            types = self._types(path)
            for each in types:
                if each["$type"] == "ResourceType" and each["name"].lower() == f"{resource}@{version}".lower():
                    return self._type(_reference(each["body"]), path)
        return None

    def _types(self, path: str) -> list[Json]:
        if path not in self._files:
            self._files[path] = json.loads(self._git("show", f"HEAD:{path}"))
        return self._files[path]

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self._checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603

    def _lazy(self, number: int, path: str) -> Lazy:
        return lambda: self._type(number, path)

    def _type(self, number: int, path: str) -> Type:
        it = self._types(path)[number]
        match it["$type"]:
            case "ObjectType":
                extra = it.get("additionalProperties")
                return Type(
                    it["name"],
                    properties=self._properties(it["properties"], path),
                    extra=self._lazy(_reference(extra), path) if extra else None,
                )
            case "DiscriminatedObjectType":
                choices = {name: self._lazy(_reference(each), path) for name, each in it["elements"].items()}
                base = self._properties(it["baseProperties"], path)
                return Type(it["name"], properties=base, chosen_by=it["discriminator"], choices=choices)
            case "ArrayType":
                return Type("a list", items=self._lazy(_reference(it["itemType"]), path))
            case "StringType":
                return Type("string", scalar=str)
            case "IntegerType":
                return Type("int", scalar=int)
            case "BooleanType":
                return Type("bool", scalar=bool)
            case "StringLiteralType":
                return Type("string", scalar=str, literals=frozenset({it["value"]}))
            case "UnionType":
                parts = [self._type(_reference(each), path) for each in it["elements"]]
                if any(each.scalar is not str for each in parts):
                    return ANY
                literals = frozenset[str]().union(*(each.literals for each in parts))
                return Type("string", scalar=str, literals=literals, open=any(not each.literals for each in parts))
            case _:
                return ANY

    def _properties(self, properties: Json, path: str) -> dict[str, Property]:
        return {
            name: Property(self._lazy(_reference(each["type"]), path), bool(each["flags"] & 1), bool(each["flags"] & 2))
            for name, each in properties.items()
        }


def _reference(it: Json) -> int:
    return int(it["$ref"].rpartition("/")[2])
