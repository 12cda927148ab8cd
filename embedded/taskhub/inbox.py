"""Events, and how they come to an orchestration or entity."""

from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from embedded.taskhub.database import Transaction

ENDED = (pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_FAILED, pb.ORCHESTRATION_STATUS_TERMINATED)

DONE = (pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_TERMINATED)
"""What has failed may be rewound, and then wants what came meanwhile."""
DELIVER = f"""
INSERT INTO inbox (target, kind, due, event) SELECT ?, ?, 0, ? FROM instances
WHERE id = ? AND status NOT IN {DONE} AND (? = '' OR execution = ?)
"""


class Late(Exception):
    """A report on work that somebody else was given, and has reported on."""


def stamp(us: int) -> Timestamp:
    seconds, rest = divmod(us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def given(message: Any, *fields: str, **renamed: str) -> dict[str, Any]:
    """Those of a message's optional fields that are set, to hand them on: unset is not the same as empty.

    `renamed` are those that are handed on under another name.
    """
    names = dict(zip(fields, fields, strict=True)) | renamed
    return {name: getattr(message, field) for name, field in names.items() if message.HasField(field)}


def event(us: int, id: int = -1, **kind: Any) -> pb.HistoryEvent:
    """An event of the one `kind` given, stamped with the moment from which it counts."""
    return pb.HistoryEvent(eventId=id, timestamp=stamp(us), **kind)


def post(tx: Transaction, target: str, message: pb.HistoryEvent, due: int = 0, sender: str | None = None) -> None:
    """Put `message` into the target's inbox, to be delivered when it is `due`."""
    due = due if due > tx.now else 0
    tx.execute(
        "INSERT INTO inbox (target, kind, due, sender, event) VALUES (?, ?, ?, ?, ?)",
        (target, message.WhichOneof("eventType"), due, sender, message.SerializeToString()),
    )
    tx.touched.add(target)
    tx.due = min(tx.due, due or tx.due)


def deliver(tx: Transaction, id: str, message: pb.HistoryEvent, execution: str = "") -> bool:
    """Post to an orchestration; False when it, or the `execution` that asked for this, is done."""
    tx.touched.add(id)
    values = (id, message.WhichOneof("eventType"), message.SerializeToString(), id, execution, execution)
    return tx.execute(DELIVER, values).rowcount == 1


def consume(tx: Transaction, delivered: dict[int, pb.HistoryEvent]) -> None:
    """Take out what was worked on; 0 is no number of the inbox. Raises Late when it was taken out before."""
    numbers = [seq for seq in delivered if seq]
    taken = tx.execute("DELETE FROM inbox WHERE seq IN (SELECT value FROM json_each(?))", (str(numbers),))
    if taken.rowcount != len(numbers):
        raise Late
