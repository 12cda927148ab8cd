"""A long conversation, as agents have them, straight into a store's file: one by one each item would be synced."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

from nightshift.log import entry_id, utc_now
from nightshift.models import Item, ItemKind, Stream

ANSWER = """Found it: `m` is tried before `ms`.

```python
def parse(text): ...
```

| unit | s |
|---|---|
| ms | 0.001 |
"""
_TURNS: list[tuple[ItemKind, dict[str, Any]]] = [
    (ItemKind.REASONING, {"text": "The pattern **first**."}),
    (ItemKind.TOOL_CALL, {"name": "shell", "arguments": json.dumps({"command": "make test"})}),
    (ItemKind.TOOL_OUTPUT, {"text": "\x1b[32m.\x1b[0m" * 400}),
    (ItemKind.ASSISTANT_MESSAGE, {"text": ANSWER}),
]


def talk(file: Path, session_id: str, count: int) -> None:
    """Writes items 1 to `count` as the log would have; the session has none yet. Three rows for four items."""
    with closing(sqlite3.connect(file)) as db, db:
        db.executemany(
            "INSERT INTO documents (pk, id, etag, body) VALUES (?, ?, ?, ?)",
            (
                (session_id, entry_id(Stream.ITEM, seq), uuid4().hex, json.dumps(_body(seq)))
                for seq in range(1, count + 1)
            ),
        )


def _body(seq: int) -> dict[str, Any]:
    kind, fields = _TURNS[(seq - 1) % len(_TURNS)]
    call = f"call-{(seq - 1) // len(_TURNS)}" if kind in (ItemKind.TOOL_CALL, ItemKind.TOOL_OUTPUT) else None
    item = Item(seq=seq, kind=kind, call_id=call, created_at=utc_now(), **fields)
    body = item.model_dump(mode="json", exclude_defaults=True) | {"key": f"item:{item.id}"}
    body["entry_kind"] = body.pop("kind")
    return body
