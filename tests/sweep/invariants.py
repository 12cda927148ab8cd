"""What must be so whatever was killed when: section 9 of the design, looked at from outside and in the files."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

from demo.sample import NAME, OWNER
from nightshift.models import Item, ItemKind, Tokens
from tests.sweep.world import Json, World
from worker.envelope import Envelope

MOST_EVENTS = 500
STARTS = 3
"""Of the machine in a run without a kill: the first message, the second, and resume."""
DURABLE = "/runtime/webhooks/durabletask/instances"
ENDED = ("Completed", "Terminated", "Failed")


@dataclass
class Found:
    messages: tuple[str, ...]
    """That were accepted, in order."""
    answers: tuple[str, ...]
    """That they must have got."""
    violations: list[str] = field(default_factory=list[str])
    lost_answers: int = 0
    """Of the model: given, but not stored when their worker died. No log can know of them."""
    events: int = 0
    """Of the longest history that was met."""

    def must(self, so: bool, otherwise: str) -> None:
        if not so:
            self.violations.append(otherwise)


async def asleep(world: World, id: str, found: Found) -> None:
    """3. No machine runs behind a stopped session. 6. History. 9. Reading needs no machine."""
    running = world.processes()
    found.must(not running, f"stopped, but these run: {running}")
    found.must(bool(await _items(world, id)), "the conversation of a stopped session cannot be read")
    await _history(world, id, found)


async def told(world: World, id: str, found: Found) -> None:
    """1, 2, 4, 5, 6, 8: what the log and the session say once everything is answered; and the work itself."""
    items, session = await _items(world, id), (await world.ask("GET", f"/api/sessions/{id}")).json()
    conversation = "\n".join(it.model_dump_json(exclude_defaults=True) for it in items)
    (world.folder / "items").write_text(conversation, "utf-8")  # for `--keep`: the session is deleted next
    found.must([it.seq for it in items] == list(range(1, len(items) + 1)), f"seq: {[it.seq for it in items]}")
    for name, count in Counter(it.id for it in items).items():
        found.must(count == 1, f"item {name} is there {count} times")
    said = [it.text for it in items if it.kind is ItemKind.USER_MESSAGE]
    found.must(said == list(found.messages), f"messages: {said}")
    answers = [it.text for it in items if it.kind is ItemKind.ASSISTANT_MESSAGE and it.final]
    found.must(answers == list(found.answers), f"answers: {answers}")
    _tools(items, found)
    _generations(items, found)
    stops = sum(it.code == "stopped_by_user" for it in items)
    found.must(stops <= 1, f"the stop is told {stops} times")  # not at all if it met a machine that idled off
    bad = [(it.code, it.text) for it in items if it.code in ("turn_failed", "step_limit", "session_failed")]
    found.must(not bad, f"notices: {bad}")
    _usage(world, session, found)
    await _work(world, session, found)
    _secrets(world, found)
    await _history(world, id, found)


async def after(world: World, id: str, found: Found) -> None:
    """What a deleted session leaves: an orchestration that completed, and nothing else."""
    status = await _history(world, id, found)
    found.must(status == "Completed", f"the orchestration ended as {status}")
    listed = (await world.ask("GET", "/api/sessions")).json()["sessions"]
    found.must(not listed, f"sessions: {[each['id'] for each in listed]}")
    with closing(_database(world)) as db:
        rows = [id for (id,) in db.execute("SELECT id FROM documents WHERE pk = ?", (id,))]
    found.must(not rows, f"documents of a deleted session: {rows}")
    _secrets(world, found)


def usage_is_recorded(world: World, session: Json) -> bool:
    """It follows the answer by one report."""
    return session["usage"]["tokens"]["calls"] == len(_stored_usage(world, session["id"]))


async def left_over(world: World, id: str) -> dict[str, object]:
    """What is still there of a session that was deleted."""
    session = await world.ask("GET", f"/api/sessions/{id}")
    state = await world.ask("GET", f"{DURABLE}/{id}")
    left = {
        "session": None if session.status_code == 404 else session.json().get("phase"),
        "orchestration": None if (status := _status(state.json())) in ENDED else status,
    }
    if not any(left.values()):
        left["processes"] = [process.cmdline() for process in world.processes()]
        left["folders"] = [path.name for path in world.data.glob("machines/nightshift-*")]
    return {name: value for name, value in left.items() if value}


async def _items(world: World, id: str) -> list[Item]:
    """With `raw`, which the API keeps to itself, not here."""
    found: list[Item] = []
    while True:
        after = found[-1].seq if found else 0
        page = (await world.ask("GET", f"/api/sessions/{id}/items?after={after}")).json()["items"]
        if not page:
            return found
        found += [Item.model_validate(each) for each in page]


def _tools(items: list[Item], found: Found) -> None:
    calls = Counter(it.call_id for it in items if it.kind is ItemKind.TOOL_CALL)
    outputs = Counter(it.call_id for it in items if it.kind is ItemKind.TOOL_OUTPUT)
    found.must(calls == outputs, f"tool calls {calls} and their outputs {outputs}")
    found.must(set(calls.values()) == {1}, f"tool calls: {calls}")


def _generations(items: list[Item], found: Found) -> None:
    """2. Once a start is announced, nothing of an older one is written."""
    newest = 0
    for it in items:
        if it.code == "machine_starting":
            found.must(it.generation == newest + 1, f"start {it.generation} was announced after {newest}")
            newest = it.generation or 0
        elif it.generation is not None:
            found.must(it.generation == newest, f"item {it.seq} is of generation {it.generation}, not {newest}")


def _usage(world: World, session: Json, found: Found) -> None:
    """5. What is shown is what is stored, what is stored is what the model reported, and no call is counted twice.

    An answer that the model gave, but that was not stored when its worker died, is known to nobody: at most one for
    each worker that there would not have been without a kill.
    """
    given = Counter[str]()
    for exchange in world.model.requests:
        found.must(exchange.response is not None, f"the model refused with {exchange.status}")
        if exchange.response is not None:
            given[_tokens(exchange.response["usage"]).model_dump_json()] += 1
    stored = _stored_usage(world, session["id"])
    unknown = Counter(tokens.model_dump_json() for _, tokens in stored) - given
    found.must(not unknown, f"usage is stored that the model never reported: {unknown}")
    ids = [response for response, _ in stored]
    found.must(len(set(ids)) == len(ids), "a model call's usage is stored twice")
    total = {name: sum(getattr(tokens, name) for _, tokens in stored) for name in Tokens.model_fields}
    found.must(session["usage"]["tokens"] == total, f"usage shown {session['usage']['tokens']}, stored {total}")
    starts = sum("python -m worker" in line for line in world.trace())
    found.lost_answers, most = given.total() - len(stored), starts - STARTS
    found.must(0 <= found.lost_answers <= most, f"{found.lost_answers} answers of the model are lost, not {most}")


def _stored_usage(world: World, id: str) -> list[tuple[str, Tokens]]:
    """Of each model call whose answer is in the log: the answer's id, and what the model reported with it."""
    with closing(_database(world)) as db:
        query = "SELECT body FROM documents WHERE pk = ? AND id BETWEEN 'item:' AND 'item;'"
        bodies = [json.loads(body) for (body,) in db.execute(query, (id,))]
    envelopes = [Envelope.model_validate(body.get("raw") or {}) for body in bodies]
    return [(it.response_id or "", it.usage) for it in envelopes if it.usage]


def _tokens(usage: Json) -> Tokens:
    return Tokens(
        input=usage["input_tokens"],
        cached=usage["input_tokens_details"]["cached_tokens"],
        output=usage["output_tokens"],
        reasoning=usage["output_tokens_details"]["reasoning_tokens"],
        calls=1,
    )


def _secrets(world: World, found: Found) -> None:
    """8. None in any file, nor shown to the model. What SQLite keeps of deleted rows is looked through, too."""
    secrets = world.secrets | {"a worker's token": "eyJhbGciOiJIUzI1NiI"}
    paths = [world.folder / "server.log", *world.data.glob("*.db*"), *world.data.glob("machines/*/worker.log")]
    places = {path.name: path.read_bytes() for path in paths if path.is_file()}  # the hub's socket is none
    places["the model's requests"] = json.dumps([exchange.body for exchange in world.model.requests]).encode()
    for place, content in places.items():
        for name, secret in secrets.items():
            found.must(secret.encode() not in content, f"{name} is in {place}")


async def _work(world: World, session: Json, found: Found) -> None:
    """One pull request, and both messages' work in it."""
    pulls = await world.forge.pull_requests(OWNER, NAME)
    found.must(len(pulls) == 1, f"{len(pulls)} pull requests")
    shown = [each["number"] for each in session["pull_requests"]]
    found.must(shown == [issue.number for issue, _ in pulls], f"pull requests shown: {shown}")
    for _, pull in pulls:
        git = world.forge.state.git(pull.head_repository)
        files = (await git.text("ls-tree", "--name-only", pull.head_sha)).split()
        found.must({"one.txt", "two.txt"} <= set(files), f"files of the pull request: {files}")
        commits = [commit.message for commit in await git.commits(pull.head_sha, f"^{pull.base_sha}")]
        found.must(commits == ["two", "one"], f"commits of the pull request: {commits}")


async def _history(world: World, id: str, found: Found) -> str:
    """6. Below 500 events. Returns the orchestration's status."""
    state = (await world.ask("GET", f"{DURABLE}/{id}?showHistory=true")).json()
    count = len(state.get("historyEvents") or [])
    found.events = max(found.events, count)
    found.must(0 < count < MOST_EVENTS, f"{count} events in the history")
    return _status(state)


def _status(state: Json) -> str:
    return str(state.get("runtimeStatus", state))


def _database(world: World) -> sqlite3.Connection:
    return sqlite3.connect(world.data / "nightshift.db", timeout=30)
