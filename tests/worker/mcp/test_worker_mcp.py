"""Turns with a server's tools: a real worker process, real HTTP, the scripted model."""

from __future__ import annotations

import json
from typing import Any

from demo.model import ScriptedModel
from nightshift.mcp import parse
from nightshift.models import Item, ItemKind, ReportKind
from tests.worker import conftest
from tests.worker.conftest import Machine, configuration, until
from tests.worker.controlplane import ControlPlane
from tests.worker.mcp.conftest import KEY, odd

SECRET = KEY["NIGHTSHIFT_MCP_SECRET_KEY"]
plane, model, machine = conftest.plane, conftest.model, conftest.machine


def configure(plane: ControlPlane, servers: dict[str, Any]) -> None:
    plane.config = configuration(mcp=parse(json.dumps({"mcpServers": servers}), KEY))


def outputs(plane: ControlPlane) -> list[Item]:
    return plane.of(ItemKind.TOOL_OUTPUT)


async def test_a_turn_with_a_servers_tools(plane: ControlPlane, model: ScriptedModel, machine: Machine) -> None:
    configure(plane, {"odd": odd(machine.folder)})
    turn = await plane.say('!call odd__env {}\n!call odd__echo {"text": "hello"}')
    await machine.start()
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED
    env, echo = outputs(plane)
    assert json.loads(env.text)["KEY"] == "[secret removed]"
    assert echo.text == "hello"
    sent = [exchange.body["tools"] for exchange in model.requests]
    assert sent[0] == sent[1] == sent[2], "the list is the same in every call of a turn"
    names = [tool["name"] for tool in sent[0]]
    assert names[0] == "shell"
    assert "odd__echo" in names[names.index("set_title") :]
    assert all(SECRET not in json.dumps(exchange.body) for exchange in model.requests)
    assert SECRET not in machine.log.read_text()


async def test_an_interrupt_reaches_the_server(plane: ControlPlane, machine: Machine) -> None:
    configure(plane, {"odd": odd(machine.folder)})
    turn = await plane.say("!call odd__never {}")
    await machine.start()
    await until((machine.folder / "asked").exists)
    await plane.interrupt()
    assert (await plane.answered(turn)).kind is ReportKind.INTERRUPTED
    await until((machine.folder / "cancelled").exists)


async def test_a_server_that_does_not_work_is_told_of_in_the_chat(plane: ControlPlane, machine: Machine) -> None:
    configure(plane, {"odd": odd(machine.folder, "broken")})
    turn = await plane.say('!call odd__echo {"text": "hello"}')
    await machine.start()
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED
    assert outputs(plane)[0].text.startswith("There is no tool 'odd__echo'.")
    await plane.until(lambda: plane.of(ItemKind.NOTICE))
    (notice,) = plane.of(ItemKind.NOTICE)
    assert notice.code == "mcp_failed"
    assert "cannot start: [secret removed]" in notice.text


async def test_a_worker_that_was_killed_leaves_no_second_server(plane: ControlPlane, machine: Machine) -> None:
    configure(plane, {"odd": odd(machine.folder, "stays")})
    first = await plane.say('!call odd__echo {"text": "one"}')
    await machine.start()
    await plane.answered(first)
    old = machine.processes()
    await machine.kill()
    await machine.start()
    second = await plane.say('!call odd__echo {"text": "two"}')
    await plane.answered(second)
    assert len((machine.folder / "starts").read_text().split()) == 2
    assert old
    assert not set(old) & set(machine.processes())
    assert [item.text for item in outputs(plane)] == ["one", "two"]


async def told(plane: ControlPlane, text: str, approves: str | None = None) -> str:
    """The output of the turn's last tool call."""
    assert (await plane.answered(await plane.say(text, approves=approves))).kind is ReportKind.COMPLETED
    return outputs(plane)[-1].text


async def test_one_yes_to_a_destructive_tool_is_for_the_session(plane: ControlPlane, machine: Machine) -> None:
    configure(plane, {"odd": odd(machine.folder), "free": odd(machine.folder, allow=["destroy"])})
    await machine.start()
    assert await told(plane, "!call free__destroy {}") == "destroyed"
    assert await told(plane, "!call odd__look {}") == "looked", "it says that it does both; reading is not asked for"
    assert "needs the user's yes. It says of itself that it may change" in await told(plane, "!call odd__destroy {}")
    assert "needs the user's yes" in await told(plane, '!call odd__destroy {"what": "a"}'), "a message alone is a no"
    asked = plane.of(ItemKind.TOOL_CALL)[-1].id
    assert await told(plane, '!call odd__destroy {"what": "a"}', approves=asked) == "destroyed"
    assert await told(plane, '!call odd__destroy {"what": "b"}') == "destroyed"
    await machine.kill()
    await machine.start()
    assert await told(plane, "!call odd__destroy {}") == "destroyed"


async def test_a_yes_to_what_the_configuration_asks_for_is_for_that_call(plane: ControlPlane, machine: Machine) -> None:
    configure(plane, {"odd": odd(machine.folder, ask=["echo"])})
    await machine.start()
    assert "needs the user's yes" in await told(plane, '!call odd__echo {"text": "a"}')
    asked = plane.of(ItemKind.TOOL_CALL)[-1].id
    assert "needs the user's yes" in await told(plane, '!call odd__echo {"text": "b"}', approves=asked)
    assert await told(plane, '!call odd__echo {"text": "a"}') == "a"
    assert "needs the user's yes" in await told(plane, '!call odd__echo {"text": "a"}')
    shown = [item.effect.approval.action for item in outputs(plane) if item.effect and item.effect.approval]
    assert shown[0] == 'Call echo of the MCP server odd:\n\n{\n "text": "a"\n}'
