"""A recorded session: for each work item of its orchestration, the new events and what the orchestrator answered.

One file is one session. Past events are not repeated, they follow from the episodes before. Payloads are JSON within
JSON, not quoted text, and hold what is not as in the last payload of the same name, so that a reader, and a diff, sees
what happened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf import json_format
from google.protobuf.message import Message

HISTORIES = Path(__file__).with_name("histories")
PAYLOADS = {"input", "result", "customStatus"}
"""Fields of the protocol that hold JSON text of ours."""

AS_BEFORE = "..."
"""In a file: the other fields of this object are as in the payload before."""

type Plain = dict[str, Any]
type Convert = Callable[[str, Any], Any]
"""(name of the payload, payload) -> what stands in its place."""


@dataclass(frozen=True)
class Episode:
    """One work item: what was new, and the answer (actions and custom status)."""

    events: list[Plain]
    answer: Plain


@dataclass
class Recording:
    """A session's episodes, and the history that its orchestration has after the last of them."""

    story: str
    instance: str
    episodes: list[Episode] = field(default_factory=list[Episode])
    past: list[pb.HistoryEvent] = field(default_factory=list[pb.HistoryEvent])

    def add(self, request: pb.OrchestratorRequest, response: pb.OrchestratorResponse) -> None:
        """Raises AssertionError if the hub's past is not the one that the gate will make of the episodes, or if the
        orchestrator broke: such a session is not worth keeping.
        """
        assert list(map(plain_event, request.pastEvents)) == list(map(plain_event, self.past))
        assert "ORCHESTRATION_STATUS_FAILED" not in str(response.actions), response
        self.episodes.append(Episode(list(map(plain_event, request.newEvents)), plain_answer(response)))
        self.past = _after(self.past, self.episodes[-1])

    def requests(self) -> Iterator[tuple[pb.OrchestratorRequest, Plain]]:
        """Each work item, as a hub sends it, with the recorded answer."""
        past: list[pb.HistoryEvent] = []
        for episode in self.episodes:
            new = [_parse(event, pb.HistoryEvent()) for event in episode.events]
            yield pb.OrchestratorRequest(instanceId=self.instance, pastEvents=past, newEvents=new), episode.answer
            past = _after(past, episode)

    def dumps(self) -> str:
        last: Plain = {}
        episodes = [{"events": each.events, "answer": each.answer} for each in self.episodes]
        shorter = _each_payload(episodes, lambda name, new: _shorten(new, last, name))
        document = {"story": self.story, "instance": self.instance, "episodes": shorter}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def loads(cls, text: str) -> Recording:
        last: Plain = {}
        document = json.loads(text)
        episodes = _each_payload(document["episodes"], lambda name, short: _restore(short, last, name))
        return cls(document["story"], document["instance"], [Episode(**each) for each in episodes])


def plain_event(event: pb.HistoryEvent) -> Plain:
    """Without what only one machine or one hub knows. The orchestrator's clock is `orchestratorStarted` alone."""
    copy = pb.HistoryEvent()
    copy.CopyFrom(event)
    if not event.HasField("orchestratorStarted"):
        copy.ClearField("timestamp")
    if event.HasField("taskFailed"):
        copy.taskFailed.failureDetails.ClearField("stackTrace")
    return _plain(copy)


def plain_answer(response: pb.OrchestratorResponse) -> Plain:
    copy = pb.OrchestratorResponse(actions=response.actions)
    if response.HasField("customStatus"):
        copy.customStatus.CopyFrom(response.customStatus)
    for action in copy.actions:
        if action.completeOrchestration.HasField("failureDetails"):
            action.completeOrchestration.failureDetails.ClearField("stackTrace")
    return _plain(copy)


def _after(past: list[pb.HistoryEvent], episode: Episode) -> list[pb.HistoryEvent]:
    """The history once a hub has taken in the answer: each action is confirmed by an event."""
    past = [*past, *(_parse(event, pb.HistoryEvent()) for event in episode.events)]
    for action in _parse(episode.answer, pb.OrchestratorResponse()).actions:
        match action.WhichOneof("orchestratorActionType"):
            case "scheduleTask":
                task = action.scheduleTask
                past.append(helpers.new_task_scheduled_event(action.id, task.name, task.input.value))
            case "createTimer":
                past.append(helpers.new_timer_created_event(action.id, action.createTimer.fireAt.ToDatetime()))
            case "completeOrchestration":
                return []  # a new history, or the end
            case other:
                raise NotImplementedError(f"a recording cannot hold {other} yet")
    return [*past, helpers.new_orchestrator_completed_event()]


def _plain(message: Message) -> Plain:
    # An empty payload says what no payload says, and is not JSON.
    return _each_payload(json_format.MessageToDict(message), lambda _, text: json.loads(text) if text else None)


def _parse[M: Message](plain: Plain, message: M) -> M:
    return json_format.ParseDict(_each_payload(plain, lambda _, payload: json.dumps(payload)), message)


def _each_payload(node: Any, convert: Convert) -> Any:
    if isinstance(node, list):
        return [_each_payload(each, convert) for each in cast(list[Any], node)]
    if isinstance(node, dict):
        plain = cast(Plain, node)
        return {
            key: convert(f"{key} of {plain.get('name')}", value) if key in PAYLOADS else _each_payload(value, convert)
            for key, value in plain.items()
        }
    return node


def _shorten(new: Any, last: Plain, name: str) -> Any:
    short = _less(new, last.get(name))
    last[name] = new or last.get(name)
    return short


def _restore(short: Any, last: Plain, name: str) -> Any:
    new = _more(short, last.get(name))
    last[name] = new or last.get(name)
    return new


def _less(new: Any, old: Any) -> Any:
    now, was = _fields(new), _fields(old)
    if now is None or was is None or now.keys() != was.keys():
        return new
    changed = {key: _less(value, was[key]) for key, value in now.items() if json.dumps(value) != json.dumps(was[key])}
    return changed if len(changed) == len(now) else {AS_BEFORE: "as before", **changed}


def _more(short: Any, old: Any) -> Any:
    given, was = _fields(short), _fields(old) or {}
    if given is None:
        return short
    fields = {key: _more(value, was.get(key)) for key, value in given.items() if key != AS_BEFORE}
    return was | fields if AS_BEFORE in given else fields


def _fields(value: Any) -> Plain | None:
    return cast(Plain, value) if isinstance(value, dict) else None
