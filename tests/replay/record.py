"""`make record`: writes the recordings anew. CONTRIBUTING.md says when one may."""

from __future__ import annotations

import asyncio
import logging

from tests.replay.recording import HISTORIES
from tests.replay.sessions import SESSIONS, record


async def main() -> None:
    for name, play in SESSIONS.items():
        text = (await record(play)).dumps()
        (HISTORIES / f"{name}.json").write_text(text, "utf-8")
        print(f"{name:10}{len(text) / 1000:6.1f} kB")


if __name__ == "__main__":
    logging.disable(logging.ERROR)  # the library's warnings: the stories' faults, and cancelled timers
    asyncio.run(main())
