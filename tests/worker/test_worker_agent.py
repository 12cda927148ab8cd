"""What a custom agent is reaches the model: its prompt, its tools and no others, and no secret of its servers."""

from __future__ import annotations

import json

from demo.model import ScriptedModel
from nightshift.mcp import McpFile, joined, set_apart
from nightshift.models import ItemKind, Mcp, ReportKind
from tests.worker.conftest import Machine, configuration
from tests.worker.controlplane import ControlPlane
from tests.worker.mcp.conftest import odd

TOKEN = "token-4f3e2d1c0b"
MODE = "production"


async def test_prompt_tools_and_servers_of_an_agent_reach_the_model(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    entry = odd(machine.folder) | {"env": {"KEY": TOKEN, "MODE": MODE}}
    servers, values = set_apart(McpFile.model_validate({"mcpServers": {"odd": entry}}), None, {})
    plane.config = configuration(
        agent_prompt="You are the reviewer $folder.",
        common_prompt="We are a team.",
        tools=["view", "search", "set_title"],
        mcp=joined(Mcp(), servers, values),
    )
    turn = await plane.say("!call odd__env {}\n!shell echo hello")
    await machine.start()
    assert (await plane.answered(turn)).kind is ReportKind.COMPLETED
    request = model.requests[0].body
    asked = json.dumps(request)
    assert asked.index("You are the reviewer $folder.") < asked.index("We are a team.")
    names = [tool["name"] for tool in request["tools"]]
    assert [name for name in names if "__" not in name] == ["view", "search", "set_title"]
    assert "odd__env" in names
    env, shell = plane.of(ItemKind.TOOL_OUTPUT)
    assert (json.loads(env.text)["KEY"], json.loads(env.text)["MODE"]) == ("[secret removed]", MODE)
    assert shell.text.startswith("There is no tool 'shell'. There are: view, search, set_title, odd__")
    assert all(TOKEN not in json.dumps(exchange.body) for exchange in model.requests)
    assert TOKEN not in machine.log.read_text()


async def test_without_an_agent_nothing_is_said_of_one(
    plane: ControlPlane, model: ScriptedModel, machine: Machine
) -> None:
    turn = await plane.say("hello")
    await machine.start()
    await plane.answered(turn)
    assert "Who you are in this session" not in json.dumps(model.requests[0].body)
