"""A server that does what real ones should not. Standard library alone, so that it starts at once.

It speaks the protocol of 2025-11-25 and notes in its folder what it was told: `starts`, `cancelled`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = [
    "echo",
    "env",
    "never",
    "steps",
    "die",
    "big",
    "junk",
    "wrong",
    "refuse",
    "grow",
    "run",
    "deaf",
    "look",
    "meet",
    "destroy",
    "odd/näme",
    "x" * 80,
]
HINTS = {
    "meet": {"readOnlyHint": True},
    "look": {"readOnlyHint": True, "destructiveHint": True},
    "destroy": {"destructiveHint": True, "idempotentHint": True},
}
WAITING: list[int] = []
FOLDER = Path(sys.argv[1])
HOW = sys.argv[2:]


def send(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def note(file: str, text: str) -> None:
    with (FOLDER / file).open("a") as opened:
        opened.write(f"{text}\n")


def call(id: int, name: str, arguments: dict[str, Any], token: Any) -> None:
    content: list[dict[str, Any]] = []
    match name:
        case "echo":
            content = [{"type": "text", "text": arguments["text"]}]
        case "env":
            content = [{"type": "text", "text": json.dumps(dict(os.environ))}]
        case "run":
            done = subprocess.run(["bash", "-c", arguments["script"]], stdout=-1, stderr=-2, stdin=-3, text=True)
            content = [{"type": "text", "text": done.stdout}]
        case "deaf":
            note("asked", str(id))
            time.sleep(1000)
        case "look":
            content = [{"type": "text", "text": "looked"}]
        case "meet":
            WAITING.append(id)
            if len(WAITING) == 2:
                for each in WAITING:
                    send(id=each, result={"content": [{"type": "text", "text": "met"}]})
            return
        case "destroy":
            content = [{"type": "text", "text": "destroyed"}]
        case "never":
            note("asked", str(id))
            return
        case "steps":
            for number in range(arguments["count"]):
                time.sleep(arguments["seconds"])
                send(method="notifications/progress", params={"progressToken": token, "progress": number + 1})
            content = [{"type": "text", "text": "all steps"}]
        case "die":
            print(f"it hurts: {os.environ.get('KEY')}", file=sys.stderr, flush=True)
            os._exit(3)
        case "big":
            content = [{"type": "text", "text": "first " + "x" * 500_000 + " last"}]
        case "junk":
            print("this is no JSON", flush=True)
            content = [{"type": "text", "text": "after junk"}]
        case "wrong":
            send(id=id, result={"content": "no list"})
            return
        case "grow":
            NAMES.append("grown")
            send(method="notifications/tools/list_changed")
            content = [{"type": "text", "text": "grown"}]
        case _:
            send(id=id, error={"code": -32602, "message": f"no {name} today"})
            return
    send(id=id, result={"content": content, "isError": arguments.get("text") == "an error"})


def answer(message: dict[str, Any]) -> None:
    params: dict[str, Any] = message.get("params", {})
    match message["method"]:
        case "initialize":
            capabilities = {"tools": {"listChanged": True}}
            info = {"name": "odd", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info}
            send(id=message["id"], result={**result, "instructions": "Be kind."})
        case "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}, "description": name} for name in NAMES]
            for tool in tools:
                tool |= {"annotations": HINTS[tool["name"]]} if tool["name"] in HINTS else {}
            send(id=message["id"], result={"tools": tools})
        case "tools/call":
            call(message["id"], params["name"], params["arguments"], params.get("_meta", {}).get("progressToken"))
        case "notifications/cancelled":
            note("cancelled", str(params["requestId"]))
        case _ if "id" in message:
            send(id=message["id"], error={"code": -32601, "message": "Method not found"})
        case _:
            pass


note("starts", str(os.getpid()))
if "broken" in HOW:
    sys.exit(f"cannot start: {os.environ.get('KEY')}")
if "slow" in HOW:
    while not (FOLDER / "go").exists():
        time.sleep(0.02)
for line in sys.stdin:
    answer(json.loads(line))
if "stays" in HOW:
    time.sleep(1000)
