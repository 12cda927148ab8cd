"""What a page tells of a durable history: of a real hub's, and where there is none to be had."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from durabletask import task
from httpx import AsyncClient

from api.pages.history import TURN, Step, steps
from nightshift.log import utc_now
from tests.taskhub.rig import Rig, Steps, eventually
from tests.web.conftest import NewSession, Silence


def works(ctx: task.ActivityContext, _: Any) -> str:
    return "done"


def breaks(ctx: task.ActivityContext, _: Any) -> None:
    raise ValueError("the secret is 42")


def life(ctx: task.OrchestrationContext, _: Any) -> Steps:
    yield ctx.call_activity(works, input=1)
    yield ctx.create_timer(timedelta(seconds=0.5))
    try:
        yield ctx.call_activity(breaks, input=1)
    except task.TaskFailedError:
        yield ctx.wait_for_external_event("control")
    yield ctx.wait_for_external_event("never")


def test_activities_and_waits_of_a_real_history(tmp_path: Path) -> None:
    with Rig(tmp_path / "hub.db") as rig:
        rig.work(life, activities=[works, breaks])
        id = rig.client.schedule_new_orchestration(life)

        def told() -> list[Step]:
            return steps(rig.client.get_orchestration_history(id))

        eventually(lambda: len(told()) >= 4)
        before = told()
        assert [(step.name, step.is_wait, step.fault) for step in before] == [
            ("works", False, ""),
            ("timer", True, ""),
            ("breaks", False, "ValueError"),
            ("", True, ""),
        ]
        assert before[1].seconds is not None
        assert before[1].seconds >= 0.4
        assert before[3].ended is None
        eventually(lambda: utc_now() - before[3].begun > timedelta(seconds=2 * TURN))
        rig.client.raise_orchestration_event(id, "control")
        after = eventually(lambda: found if (found := told())[3].ended else None)
        assert after is not None
        assert after[3].name == "control"
        assert after[:3] == before[:3]


async def test_a_history_that_is_not_to_be_had_is_told(
    client: AsyncClient, new_session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await new_session()
    assert "There is no history" in (await client.get("/sessions/s-1/history")).text

    async def away(self: Silence, session_id: str) -> None:
        raise grpc.RpcError

    monkeypatch.setattr(Silence, "history", away)
    answer = await client.get("/sessions/s-1/history")
    assert answer.status_code == 200
    assert "cannot be read now" in answer.text
    assert (await client.get("/sessions/s-9/history")).status_code == 404
