"""The life of a session, played by a client that never gives up: what it asks for, and what it waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from demo.sample import NAME, OWNER
from tests.sweep import invariants
from tests.sweep.invariants import Found
from tests.sweep.world import Json, NeverCame, World

REPOSITORY = f"{OWNER}/{NAME}"
PATIENCE = 60.0
"""Seconds after which what has not come is a violation."""
LOOK = 0.2
"""Seconds between two looks."""
_COMMIT = (
    "!shell cd {{folder}}; git switch -c nightshift/{{session}}"
    " || git switch nightshift/{{session}};"
    " echo {0} > {0}.txt && git add {0}.txt && git commit -qm {0}; env"
)
_PUBLISH = "!call pull_request " + json.dumps(
    {"repository": REPOSITORY, "title": "Sweep", "body": "Swept.", "base": None}
)
MESSAGES = (
    f'!call clone {{"repository": "{REPOSITORY}"}}\n{_COMMIT.format("one")}\n{_PUBLISH}\n!say The first is done.',
    f"{_COMMIT.format('two')}\n{_PUBLISH}\n!say The second is done.",
    "!say The third is done.",
)
ANSWERS = ("The first is done.", "The second is done.", "The third is done.")


async def play(world: World, found: Found) -> None:
    """All of it; `found` tells what was not as it must be. Raises NeverCame."""
    id: str = (await world.tell("POST", "/api/sessions", {"message": MESSAGES[0], "repository": REPOSITORY}))["id"]
    await _until(world, id, "the first answer", lambda it: it["turns"] >= 1 and _answered(it))
    await _until(world, id, "deallocation after idle", lambda it: it["phase"] == "stopped")
    await invariants.asleep(world, id, found)
    await world.tell("POST", f"/api/sessions/{id}/messages", {"text": MESSAGES[1]})
    await _until(world, id, "the second answer", lambda it: it["turns"] >= 2 and _answered(it))
    await world.tell("POST", f"/api/sessions/{id}/stop")
    await _until(world, id, "the stop", lambda it: it["phase"] == "stopped")
    await invariants.asleep(world, id, found)
    await world.tell("POST", f"/api/sessions/{id}/resume")
    await _until(world, id, "the resumed machine", lambda it: it["generation"] >= 3)
    await world.tell("POST", f"/api/sessions/{id}/messages", {"text": MESSAGES[2]})
    await _until(world, id, "the third answer", lambda it: it["turns"] >= 3 and _answered(it))
    await _until(world, id, "the usage", lambda it: invariants.usage_is_recorded(world, it))
    await invariants.told(world, id, found)
    await world.ask("DELETE", f"/api/sessions/{id}")
    await _gone(world, id)
    await invariants.after(world, id, found)


def _answered(session: Json) -> bool:
    return 0 < session["last_message_seq"] <= session["answered_seq"]


async def _until(world: World, id: str, what: str, done: Callable[[Json], bool]) -> None:
    session: Json = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while not done(session := await world.tell("GET", f"/api/sessions/{id}")):
                await asyncio.sleep(LOOK)
    except TimeoutError:
        kept = ("phase", "stage", "generation", "turns", "last_message_seq", "answered_seq", "usage", "failure")
        last = {name: session.get(name) for name in kept} if session else "no answer at all"
        raise NeverCame(f"{what} never came; last: {last}") from None


async def _gone(world: World, id: str) -> None:
    """Json, processes and folder of the machine, and the orchestration's end."""
    left: dict[str, object] = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while left := await invariants.left_over(world, id):
                await asyncio.sleep(LOOK)
    except TimeoutError:
        raise NeverCame(f"the end never came; left: {left}") from None
