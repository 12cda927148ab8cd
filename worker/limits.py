"""How much a turn and a whole session may take before the user is asked. Pure: the log says what was used."""

from __future__ import annotations

from nightshift.models import WorkerConfig
from worker.history import History

type Over = tuple[str, str]
"""(code of the notice, words for the user)"""
GO_ON = "Send a message to go on"


def steps_over(history: History, turn: int, config: WorkerConfig) -> Over | None:
    """Why no further model call is made, if none is."""
    if history.steps >= config.session_steps * history.allowances:
        steps = f"{history.steps} steps of this session"
        return "session_limit", f"Stopped after {steps}. {GO_ON}, for up to {config.session_steps} more."
    if history.turn(turn).steps >= config.max_steps:
        return "step_limit", f"Stopped after {config.max_steps} steps. {GO_ON}."
    return None


def seconds_left(history: History, turn: int, config: WorkerConfig) -> tuple[float, Over]:
    """Working time from now on, and what to say when it is over."""
    of_turn = config.turn_seconds - history.turn(turn).worked.total_seconds()
    of_session = config.session_seconds * history.allowances - history.worked.total_seconds()
    if of_turn <= of_session:
        return of_turn, ("time_limit", f"Stopped after {config.turn_seconds / 3600:g} hours of work. {GO_ON}.")
    hours, more = config.session_seconds * history.allowances / 3600, config.session_seconds / 3600
    words = f"Stopped after {hours:g} hours of work in this session. {GO_ON}, for up to {more:g} more."
    return of_session, ("session_limit", words)
