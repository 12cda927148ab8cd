"""The sessions that are recorded: what happens in each, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nightshift.errors import Permanent
from nightshift.models import ControlKind, Effect, PullRequest, ReportKind, Todo
from orchestrators.session import WAKES_PER_RUN
from tests.replay.recording import Recording
from tests.replay.stage import Stage, stage

type Play = Callable[[Stage], Awaitable[None]]


async def record(play: Play) -> Recording:
    async with stage(play.__doc__ or "") as it:
        await play(it)
        return it.recording


async def _started(it: Stage) -> None:
    """The machine boots and its worker reports."""
    await it.wait(seconds=8)
    await it.report(ReportKind.STARTED)
    await it.settle()


async def _answered(it: Stage) -> None:
    await it.wait(seconds=40)
    await it.report(ReportKind.COMPLETED)
    await it.settle()


async def wake(it: Stage) -> None:
    """A turn with a pull request; idle, so the machine goes; a second message wakes it; deleted."""
    await it.begin()
    await _started(it)
    request = PullRequest(repository="acme/tidytime", number=7, url="http://forge/7", title="Parse zones", branch="fix")
    await it.show(Effect(title="Fix the parser", todo=[Todo(text="Test it", status="done")], pull_request=request))
    await _answered(it)
    await it.wait(minutes=30, seconds=20)
    await it.say("And the docs?")
    await _started(it)
    await _answered(it)
    await it.control(ControlKind.DELETE)
    await it.wait(minutes=1)


async def restart(it: Stage) -> None:
    """The worker's machine breaks in mid-turn: found out by its silence, started again, the turn ends."""
    await it.begin()
    await _started(it)
    it.machines.die()
    await it.wait(seconds=95)
    await _started(it)
    await _answered(it)


async def failed(it: Stage) -> None:
    """No machine boots: failed after three tries. The next message is refused for want of quota, a third one served."""
    it.machines.boots = False
    await it.begin()
    await it.wait(minutes=1)
    it.machines.boots = True
    it.machines.refusal = Permanent("No quota for this size.", "Ask for more.")
    await it.say("Try again")
    await it.wait(minutes=1)
    it.machines.refusal = None
    await it.say("Now there is quota")
    await _started(it)
    await _answered(it)


async def long(it: Stage) -> None:
    """Wakes until continue-as-new. Of the three bells of the last batch two are carried over, one with a message."""
    await it.begin()
    await _started(it)
    await _answered(it)
    while it.calls["observe"] < WAKES_PER_RUN:
        it.ring("worker_report")
        await it.settle()
    it.ring("worker_report")
    await it.say("More")
    it.ring("control")
    await it.settle()
    await _answered(it)


async def steered(it: Stage) -> None:
    """Interrupted, stopped in mid-turn, put away for a week until the machine is deleted, resumed."""
    await it.begin()
    await _started(it)
    await it.control(ControlKind.INTERRUPT)
    await it.settle()
    await it.report(ReportKind.INTERRUPTED)
    await it.settle()
    await it.say("Do it in another way")
    await it.settle()
    await it.control(ControlKind.STOP)
    await it.wait(days=8)
    await it.control(ControlKind.RESUME)
    await _started(it)
    await _answered(it)


async def deleted(it: Stage) -> None:
    """Deleted while the machine starts: the bell rings in the middle of an activity."""
    await it.begin()
    it.during["start_machine"] = lambda: it.control(ControlKind.DELETE)
    await it.wait(minutes=1)


async def faults(it: Stage) -> None:
    """An activity fails in all its eight tries: the step is taken again a minute later, and fails once."""
    it.machines.faults = 9
    await it.begin()
    await it.wait(minutes=3, seconds=5)
    await it.report(ReportKind.STARTED)
    await it.settle()


SESSIONS: dict[str, Play] = {play.__name__: play for play in (wake, restart, failed, long, steered, deleted, faults)}
