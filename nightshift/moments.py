"""Moments at which a session's owner wants to be told: it needs them, it is done, or it failed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nightshift.models import Need, Phase, Session


class Moment(StrEnum):
    """What a device may be told of."""

    NEEDS = "needs"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Turned:
    """What a session came to."""

    moment: Moment
    reason: str
    """A `Need`, or `done`."""
    key: str
    """The same as long as nothing new happened: nobody is told of one key twice."""


def turned(session: Session) -> Turned | None:
    """None while it is at work, and when there is nothing to tell."""
    if session.phase is Phase.FAILED:
        # Without another message it can fail again only after another start.
        return Turned(Moment.FAILED, Need.FAILURE, f"{session.last_message_seq}:{session.generation}:failed")
    if (need := session.needs_user) is not None:
        moment = Moment.FAILED if need is Need.FAILURE else Moment.NEEDS
        return Turned(moment, need, f"{session.last_message_seq}:{need}")
    if session.phase is Phase.WAITING and 0 < session.last_message_seq <= session.answered_seq:
        return Turned(Moment.DONE, "done", f"{session.last_message_seq}:done")
    return None
