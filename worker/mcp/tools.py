"""A server's tools as the agent's: named SERVER__TOOL, described within a limit, called by name."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, cast

from mcp.types import Tool as Listed
from pydantic import ValidationError

from nightshift.errors import NightshiftError
from worker import policy
from worker.mcp.results import output
from worker.mcp.server import Server
from worker.tools import Output, Workbench
from worker.tools.base import asks

LONGEST_NAME = 64
DESCRIPTION = 2000
"""Characters of a tool's description, and of what a server says of all its tools."""


@dataclass(frozen=True)
class McpTool:
    server: Server
    listed: Listed
    preface: str
    """What the server says of all its tools. It comes and goes with them, on the first one."""

    @property
    def name(self) -> str:
        return joined(self.server.name, self.listed.name)

    @property
    def repeatable(self) -> bool:
        hints = self.listed.annotations
        return bool(hints and (hints.read_only_hint or hints.idempotent_hint))

    @property
    def reads(self) -> bool:
        hints = self.listed.annotations
        return bool(hints and hints.read_only_hint)

    @property
    def _destructive(self) -> bool:
        """Only where it says so: the protocol's default is yes, and most tools say nothing."""
        hints = self.listed.annotations
        return bool(hints and hints.destructive_hint and not hints.read_only_hint)

    def schema(self) -> dict[str, Any]:
        """Not strict: a server's schema says what it says, and it checks the arguments itself."""
        described = _cut(self.listed.description or self.listed.title or self.listed.name)
        preface = f"\n\n[Of all tools of {self.server.name}: {_cut(self.preface)}]" if self.preface else ""
        return {
            "type": "function",
            "name": self.name,
            "description": described + preface,
            "parameters": {"type": "object", "properties": {}, **self.listed.input_schema},
            "strict": False,
        }

    async def __call__(self, arguments: str, bench: Workbench) -> Output:
        try:
            given = json.loads(arguments or "{}")
            if not isinstance(given, dict):
                raise ValueError("an object is wanted")
            arguments_given = cast("dict[str, Any]", given)
            approval = policy.judge_mcp(
                *(self.server.name, self.server.entry, self.listed.name),
                destructive=self._destructive,
                arguments=arguments_given,
                place=bench.place(),
            )
            if approval and not await bench.allows(approval):
                return asks(approval)
            return await output(await self.server.call(self.listed.name, arguments_given), bench)
        except NightshiftError as fault:
            return Output(str(fault), is_error=True)
        except (ValidationError, RuntimeError) as fault:  # its result is not what the protocol, or its own schema, says
            return Output(f"{self.name} gave a result that is not valid: {_cut(str(fault))}", is_error=True)
        except ValueError as fault:
            return Output(f"The arguments of {self.name} are not valid: {fault}", is_error=True)


def joined(server: str, tool: str) -> str:
    """What a model may call it. A name that had to change has a hash, so that no two become one."""
    whole = f"{server}__{tool}"
    name = re.sub(r"[^A-Za-z0-9_-]", "_", whole)
    if name == whole and len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def _cut(text: str) -> str:
    return text if len(text) <= DESCRIPTION else text[:DESCRIPTION] + " [...]"
