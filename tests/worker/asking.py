"""Asking a model server as the worker does, without a worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

from nightshift.errors import Permanent
from nightshift.models import DraftKind, FileRef, ModelEndpoint
from worker.model import ModelServer, Prompt

type Api = Literal["responses", "chat"]
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "shell",
    "description": "Run a command.",
    "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
    "strict": True,
}


class Shown:
    """Everything that was shown while a reply was written."""

    def __init__(self) -> None:
        self.all: list[tuple[int, DraftKind, str]] = []

    def __call__(self, number: int, kind: DraftKind, text: str) -> None:
        self.all.append((number, kind, text))

    def of(self, kind: DraftKind) -> list[str]:
        return [text for _, each, text in self.all if each == kind]


async def no_files(file: FileRef) -> bytes:
    raise Permanent(f"There is no {file.filename}")


def prompt(*input: dict[str, Any] | str, **fields: Any) -> Prompt:
    items = [{"role": "user", "content": each} if isinstance(each, str) else each for each in input]
    asked: dict[str, Any] = {"id": "r1", "model": "m", "instructions": "Be good.", "input": items, "tools": [TOOL]}
    return Prompt(**asked | fields)


@asynccontextmanager
async def asking(url: str, api: Api, files: Any = no_files, key: str = "key") -> AsyncGenerator[ModelServer]:
    server = ModelServer(ModelEndpoint(base_url=url, api_key=key, api=api), "s1", files)
    try:
        yield server
    finally:
        await server.close()
