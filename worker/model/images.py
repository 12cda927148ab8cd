"""Images: the log names them, the request carries them."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from nightshift.errors import NightshiftError, UserError
from nightshift.models import FileRef
from worker.model.port import Items, Prompt

KINDS = {"image/png", "image/jpeg", "image/gif", "image/webp"}
LARGEST = 20_000_000
"""Bytes of one image. Servers refuse a request with a larger one."""


def part(file: FileRef) -> dict[str, Any]:
    """What stands for a file in a message or a tool's output; `inlined` puts the content in its place."""
    if file.content_type in KINDS and file.size <= LARGEST:
        return {"type": "input_image", "file": file.model_dump()}
    return _text(f"[file {file.filename}, {file.content_type}, {file.size:,} bytes]")


def shown(items: Items) -> bool:
    return any(_is_image(part) for item in items for part in _parts(item))


class Images:
    def __init__(self, fetch: Callable[[FileRef], Awaitable[bytes]]) -> None:
        self._fetch = fetch
        self._urls: dict[str, str] = {}

    async def inlined(self, prompt: Prompt, blind: bool) -> Prompt:
        """The prompt with every image's content in it; for a model without eyes, with its name."""
        files = [FileRef.model_validate(p["file"]) for i in prompt.input for p in _parts(i) if _is_image(p)]
        if not files:
            return prompt
        if not blind:
            wanted = {file.name: file for file in files}
            urls = await asyncio.gather(*(self._url(file) for file in wanted.values()))
            self._urls = {name: url for name, url in zip(wanted, urls, strict=True) if url}  # no others: they are large
        return replace(prompt, input=[self._filled(item, blind) for item in prompt.input])

    def _filled(self, item: dict[str, Any], blind: bool) -> dict[str, Any]:
        key = "output" if "output" in item else "content"
        parts = _parts(item)
        if not any(map(_is_image, parts)):
            return item
        return item | {key: [self._content(part, blind) if _is_image(part) else part for part in parts]}

    def _content(self, part: dict[str, Any], blind: bool) -> dict[str, Any]:
        name, filename = part["file"]["name"], part["file"]["filename"]
        if blind:
            return _text(f"[image {filename}: this model takes no images]")
        if url := self._urls.get(name):
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        return _text(f"[image {filename}: it could not be read]")

    async def _url(self, file: FileRef) -> str | None:
        if known := self._urls.get(file.name):
            return known
        try:
            return f"data:{file.content_type};base64,{b64encode(await self._fetch(file)).decode()}"
        except UserError:  # the control plane no longer wants this worker
            raise
        except NightshiftError:  # gone with the retention of files, say: told to the model in its place
            return None


def _parts(item: dict[str, Any]) -> Items:
    content = item.get("output") if item.get("type") == "function_call_output" else item.get("content")
    return cast(Items, content) if isinstance(content, list) else []


def _is_image(part: dict[str, Any]) -> bool:
    return part.get("type") == "input_image" and "file" in part


def _text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}
