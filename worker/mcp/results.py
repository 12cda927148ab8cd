"""What a call gave, for the model: text within the limit, everything else in files."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes

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

from worker.tools import Output, Workbench, text


def output(result: CallToolResult, bench: Workbench) -> Output:
    parts = [_part(block, number, bench) for number, block in enumerate(result.content)]
    if result.structured_content is not None and not any(isinstance(block, TextContent) for block in result.content):
        parts.insert(0, json.dumps(result.structured_content, ensure_ascii=False, indent=1))
    whole = "\n\n".join(parts) or "[nothing]"
    if len(whole) > text.LIMIT:
        path = bench.output_file()
        path.write_text(bench.secrets.mask(whole), errors="replace")
        whole = text.cut(whole, f"the whole output is in {path}")
    return Output(whole, is_error=result.is_error)


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
    suffix = mimetypes.guess_extension(mime_type) or ".bin"
    path = bench.output_file().with_suffix(f".{number}{suffix}")
    path.write_bytes(content)
    return f"[{mime_type or 'data'}, {len(content)} bytes, in {path}]"
