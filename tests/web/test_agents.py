"""Agents on the pages: made, told what is wrong, used in a session, changed by two, deleted; tokens are never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.client import ApiError, Client
from nightshift.agents import AgentFields, list_agents, make_agent
from nightshift.models import AgentRef
from nightshift.people import Preferences, Template, save_preferences
from nightshift.services import Services
from tests.web.conftest import NewSession, until

TOKEN = "tok-99aa88bb77cc"
SERVERS = {"mcpServers": {"tracker": {"url": "https://example.org/mcp", "headers": {"Authorization": TOKEN}}}}


async def make(services: Services, id: str = "a-1", **fields: Any) -> None:
    await make_agent(services.store, "local", id, False, AgentFields.model_validate({"name": "Reviewer", **fields}))


async def test_an_agent_is_made_corrected_and_used(page: Any, url: str, services: Services) -> None:
    await page.goto(url)
    assert await page.locator("[name=agent]").count() == 0
    await page.goto(f"{url}/settings")
    await page.get_by_role("link", name="New agent").click()
    await page.get_by_label("Name", exact=True).fill("Reviewer")
    await page.get_by_label("What it is told").fill("You review.")
    await page.get_by_label("Model").fill("gpt-5.2")
    await page.get_by_label("shell").uncheck()
    assert await page.get_by_label("view", exact=False).first.is_disabled()
    servers = page.get_by_label("MCP servers")
    for wrong, told in (("{\n  oops", "line 2, column 3"), ('{"mcpServers": {"a": {"comand": "x"}}}', "a.comand")):
        await servers.fill(wrong)
        await page.get_by_role("button", name="Save").click()
        await page.locator("#mcp-fault", has_text=told).wait_for()
        assert await page.locator(":focus").get_attribute("name") == "mcp"
        assert await servers.get_attribute("aria-invalid") == "true"
    await servers.fill(json.dumps(SERVERS))
    await servers.press("Shift+Tab")  # from here on without a mouse
    await page.get_by_role("button", name="Save").press("Enter")
    await page.wait_for_url("**/settings#agents")
    page.complaints[:] = [text for text in page.complaints if "422" not in text]

    [agent] = await list_agents(services.store, "local")
    assert agent.tools is not None
    assert "shell" not in agent.tools
    await page.get_by_role("link", name="Reviewer").click()
    assert '"***"' in await servers.input_value()
    assert TOKEN not in await page.content()
    await page.get_by_role("button", name="Save").click()
    await page.wait_for_url("**/settings#agents")

    await page.goto(url)
    await page.locator("select[name=agent]").select_option(label="Reviewer")
    assert await page.get_by_label("Model").input_value() == "gpt-5.2"
    await page.get_by_label("What should be done?").fill("Review it")
    await page.get_by_role("button", name="Start session").click()
    await page.wait_for_url("**/sessions/s-*")
    await page.locator("#head", has_text="Reviewer").wait_for()
    [session], _ = await services.log.sessions(1)
    assert session.agent == AgentRef(id=agent.id, name="Reviewer")
    assert session.request.model == "gpt-5.2"


async def test_two_editors_of_one_agent(page: Any, url: str, services: Services) -> None:
    await make(services)
    await page.goto(f"{url}/settings/agents/a-1")
    other = await page.context.new_page()
    await other.goto(f"{url}/settings/agents/a-1")
    for each, text in ((other, "First"), (page, "Second")):
        await each.get_by_label("Description").fill(text)
        await each.get_by_role("button", name="Save").click()
        if each is other:
            await other.wait_for_url("**/settings#agents")
    await page.locator("#problem:not([hidden])").wait_for()
    assert await page.get_by_label("Description").input_value() == "Second"
    [agent] = await list_agents(services.store, "local")
    assert agent.description == "First"
    page.complaints[:] = [text for text in page.complaints if "412" not in text]
    await other.close()


async def test_in_japanese_an_agent_is_deleted_after_a_second_thought(
    page: Any, url: str, services: Services, new_session: NewSession
) -> None:
    await make(services, name="調査係", effort="high")
    template = Template(name="調べる", message="調べて", agent="a-1")
    await save_preferences(services.store, "local", Preferences(templates=[template]))
    await page.context.add_cookies([{"name": "nightshift_language", "value": "ja", "url": url}])
    await page.goto(url)
    await page.get_by_role("button", name="調べる").click()
    agent = page.locator("select[name=agent]")
    assert await agent.input_value() == "a-1"
    assert await page.locator("select[name=effort]").input_value() == "high"

    await page.goto(f"{url}/settings")
    delete = page.get_by_role("button", name="削除 調査係")
    await delete.click()
    await page.get_by_role("button", name="元に戻す").click()
    await until(page, "document.querySelectorAll('.going').length === 0")
    async with page.expect_response("**/api/agents/a-1"):
        await delete.click()
    await until(page, "!document.querySelector('#agents table')")
    assert await list_agents(services.store, "local") == []


async def test_the_command_knows_agents_by_name(url: str, services: Services) -> None:
    await make(services)
    async with Client(url) as client:
        assert await client.agent_id("Reviewer") == await client.agent_id("a-1") == "a-1"
        begun = await client.start("Review it", None, None, agent="a-1")
        assert (await client.session(begun["id"]))["agent"] == {"id": "a-1", "name": "Reviewer"}
        with pytest.raises(ApiError, match="There are: Reviewer"):
            await client.agent_id("Critic")
