"""The `nightshift` command at a real server."""

from __future__ import annotations

import asyncio

from click.testing import CliRunner, Result

from cli.main import main
from nightshift.models import Approval, Effect, ItemKind
from nightshift.services import Services
from tests.web.conftest import NewSession, Say


async def nightshift(url: str, *arguments: str, given: str | None = None) -> Result:
    """In a thread of its own: the server is in this one."""
    environment = {"NIGHTSHIFT_URL": url}
    return await asyncio.to_thread(CliRunner().invoke, main, arguments, input=given, env=environment)


async def test_a_session_begins_with_a_plan_and_a_yes_is_said_to_the_newest(
    url: str, services: Services, say: Say
) -> None:
    begun = await nightshift(url, "run", "Add a login", "--plan", "--no-follow")
    assert begun.exit_code == 0, begun.output
    [session], _ = await services.log.sessions(2)
    for call in ("a", "b"):
        ask = Effect(approval=Approval(kind="plan", action=f"# Plan {call}", reason="Nothing is changed before."))
        await say(ItemKind.TOOL_CALL, session_id=session.id, id=f"call-{call}", name="propose_plan", call_id=call)
        await say(ItemKind.TOOL_OUTPUT, "waits", session_id=session.id, call_id=call, effect=ask)
    declined = await nightshift(url, "approve", session.id, given="n\n")
    assert "# Plan b" in declined.output
    assert declined.exit_code == 1
    assert (await nightshift(url, "approve", session.id, "--no-follow", given="y\n")).exit_code == 0
    said = [item for item in await services.log.items(session.id) if item.kind is ItemKind.USER_MESSAGE]
    assert [(item.plan, item.approves) for item in said] == [(True, None), (None, "call-b")]
    again = await nightshift(url, "approve", session.id, "--yes", "--no-follow")
    assert (again.exit_code, "waits for no yes" in again.output) == (1, True)


async def test_a_message_may_ask_for_a_plan_or_do_without(
    url: str, services: Services, new_session: NewSession
) -> None:
    await new_session()
    for option in ("--plan", "--no-plan", "--no-follow"):
        assert (await nightshift(url, "send", "s-1", "Go on", option, "--no-follow")).exit_code == 0
    said = [item for item in await services.log.items("s-1") if item.kind is ItemKind.USER_MESSAGE]
    assert [item.plan for item in said[-3:]] == [True, False, None]
