"""What a call gave, for the model: text within the limit, everything else in files."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
from contextlib import suppress

from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from nightshift.models import FileRef
from worker.tools import Output, Workbench, text

SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")


async def output(result: CallToolResult, bench: Workbench) -> Output:
    """Images are put before the model as those of other tools are."""
    parts: list[str] = []
    images: list[FileRef] = []
    for number, block in enumerate(result.content):
        if isinstance(block, ImageContent) and (image := await _image(block, number, bench)):
            images.append(image)
            parts.append(f"[{image.filename}]")
        else:
            parts.append(_part(block, number, bench))
    if result.structured_content is not None and not any(isinstance(block, TextContent) for block in result.content):
        parts.insert(0, json.dumps(result.structured_content, ensure_ascii=False, indent=1))
    whole = "\n\n".join(parts) or "[nothing]"
    if len(whole) > text.LIMIT:
        bench.outputs.put(bench.output_file().name, bench.secrets.mask(whole).encode(errors="replace"))
        whole = text.cut(whole, f"the whole output is in {bench.output_file()}")
    return Output(whole, is_error=result.is_error, files=images)


async def _image(block: ImageContent, number: int, bench: Workbench) -> FileRef | None:
    if block.mime_type not in SHOWN:
        return None
    with suppress(binascii.Error):
        filename = f"{bench.output_file().stem}.{number}{mimetypes.guess_extension(block.mime_type)}"
        return await bench.upload(filename, block.mime_type, base64.b64decode(block.data, validate=True))
    return None


def _part(block: ContentBlock, number: int, bench: Workbench) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            return _kept(block.data, block.mime_type, number, bench)
        case ResourceLink():
            about = " ".join(filter(None, (block.name, block.mime_type, block.description)))
            return f"[resource {block.uri}: {about}]"
        case EmbeddedResource():
            resource = block.resource
            if isinstance(resource, TextResourceContents):
                return f"[resource {resource.uri}]\n{resource.text}"
            return f"[resource {resource.uri}] {_kept(resource.blob, resource.mime_type or '', number, bench)}"


def _kept(data: str, mime_type: str, number: int, bench: Workbench) -> str:
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error:
        return f"[{mime_type or 'data'} that is no base64]"
    name = bench.output_file().with_suffix(f".{number}{mimetypes.guess_extension(mime_type) or '.bin'}").name
    bench.outputs.put(name, content)
    return f"[{mime_type or 'data'}, {len(content)} bytes, in {bench.outputs.path / name}]"
