"""Custom agents: whose they are, what of them is never shown, and what a session keeps of one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from api.app import create_api
from nightshift.agents import ALWAYS, MOST_AGENTS, TOOLS
from nightshift.keys import Scope
from nightshift.mcp import parse
from nightshift.models import Mcp
from tests.api.house import House, client

TOKEN = "tok-1f0e9d8c7b6a"
TRACKER = {"url": "https://tracker.example.org/mcp", "headers": {"Authorization": f"Bearer {TOKEN}"}}
LOCAL = {"command": "npx", "args": ["thing@1.0.0"], "env": {"API_KEY": "k-5544332211", "MODE": "production"}}
REVIEWER: dict[str, Any] = {
    "name": "Reviewer",
    "description": "Reads, never writes",
    "prompt": "You review pull requests.",
    "model": "gpt-5.2",
    "effort": "high",
    "budget_usd": 3,
    "tools": ["shell", "search"],
    "mcp": {"mcpServers": {"tracker": TRACKER, "thing": LOCAL}},
}


def configured(house: House, mcp: Mcp) -> House:
    """The same house with servers of the deployment's."""
    services = replace(house.services, settings=replace(house.services.settings, mcp=mcp))
    app = create_api(lambda: services)
    return replace(house, services=services, app=app, http=client(app, house.bells))


async def make(house: House, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    answer = await house.http.post("/api/agents", json=REVIEWER | fields, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def change(house: House, agent: dict[str, Any], **fields: Any) -> Any:
    written = {name: agent[name] for name in (*REVIEWER, "revision")} | fields
    return await house.http.put(f"/api/agents/{agent['id']}", json=written)


async def told(house: House, session_id: str) -> dict[str, Any]:
    """What the session's worker is told to be."""
    await house.start_machine(session_id)
    return (await house.http.get("/api/worker/session", headers=house.worker(session_id))).json()


async def test_an_agent_is_made_read_changed_and_deleted_and_all_of_it_is_noted(house: House):
    made = await make(house)
    assert made["tools"] == ["shell", "view", "search", "propose_plan"]
    assert (await house.http.get(f"/api/agents/{made['id']}")).json() == made
    changed = (await change(house, made, name=" Critic ", tools=None)).json()
    assert (changed["name"], changed["tools"], changed["revision"]) == ("Critic", None, 2)
    assert (await house.http.get("/api/agents")).json() == {"agents": [changed]}
    assert (await house.http.delete(f"/api/agents/{made['id']}")).status_code == 204
    assert (await house.http.delete(f"/api/agents/{made['id']}")).status_code == 404
    assert (await house.http.get("/api/agents")).json() == {"agents": []}
    entries = (await house.http.get("/api/audit")).json()["entries"]
    noted = [(each["action"], each["detail"]) for each in entries]
    assert noted == [("agent.delete", ""), ("agent.change", "Critic"), ("agent.make", "Reviewer")]


async def test_values_of_env_and_headers_are_kept_and_never_shown(house: House):
    made = await make(house)
    id = (await house.http.post("/api/sessions", json={"message": "hi", "agent": made["id"]})).json()["id"]
    for path in ("/api/agents", f"/api/agents/{made['id']}", f"/api/sessions/{id}", "/api/sessions", "/api/audit"):
        text = (await house.http.get(path)).text
        assert not any(value in text for value in (TOKEN, "k-5544332211", "production")), path
    servers = made["mcp"]["mcpServers"]
    assert servers["tracker"]["headers"] == {"Authorization": "***"}
    assert servers["thing"]["env"] == {"API_KEY": "***", "MODE": "***"}
    assert TOKEN not in str(await house.services.log.session(id))

    mcp = (await told(house, id))["mcp"]
    assert mcp["servers"]["tracker"]["headers"] == {"Authorization": f"Bearer {TOKEN}"}
    assert mcp["servers"]["thing"]["env"] == {"API_KEY": "k-5544332211", "MODE": "production"}
    hidden = set(mcp["secrets"].values())
    assert hidden == {f"Bearer {TOKEN}", TOKEN, "k-5544332211"}  # `production` would be hidden wherever it is said


async def test_a_placeholder_keeps_a_value_only_for_where_it_went_before(house: House):
    made = await make(house)
    servers = made["mcp"]["mcpServers"]
    longer = servers | {"thing": servers["thing"] | {"timeout": 7, "env": {"API_KEY": "***", "MODE": "debug"}}}
    made = (await change(house, made, mcp={"mcpServers": longer})).json()
    id = await house.begin(agent=made["id"])
    assert (await told(house, id))["mcp"]["servers"]["thing"]["env"] == {"API_KEY": "k-5544332211", "MODE": "debug"}
    for wrong, place in (
        ({"tracker": servers["tracker"] | {"url": "https://evil.example/mcp"}}, "tracker.headers.Authorization"),
        ({"renamed": servers["tracker"]}, "renamed.headers.Authorization"),
        ({"thing": servers["thing"] | {"args": ["other@1"]}}, "thing.env.API_KEY"),
        ({"thing": servers["thing"] | {"env": {"NEW": "***"}}}, "thing.env.NEW"),
    ):
        answer = await change(house, made, mcp={"mcpServers": wrong})
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["field"] == "mcp"
        assert error["message"].startswith(f"mcpServers.{place}: ")


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"name": "  "}, "name", "give it a name"),
        ({"tools": ["shell", "rocket"]}, "tools", "there is no tool rocket; there are: shell, background"),
        ({"effort": "extreme"}, "effort", "Input should be"),
        ({"budget_usd": 0}, "budget_usd", "greater than 0"),
        ({"mcp": "{\n  oops"}, "mcp", "line 2, column 3"),
        ({"mcp": '{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}'}, "mcp", "'a' stands there twice"),
        ({"mcp": "[" * 60_000}, "mcp", "nested too deeply"),
        ({"mcp": {"mcpServers": {"a": {"comand": "x"}}}}, "mcp.mcpServers.a.comand", "Extra inputs"),
        ({"mcp": {"mcpServers": {"a__b": {"command": "x"}}}}, "mcp", "mcpServers.a__b: a name has"),
        ({"mcp": {"mcpServers": {"a": {"url": "https://me:pw@x.org/"}}}}, "mcp", "mcpServers.a.url: what signs in"),
        (
            {"mcp": {"mcpServers": {"a": {"command": "x", "env": {"K": "${NIGHTSHIFT_MCP_SECRET_TRACKER}"}}}}},
            *("mcp", "mcpServers.a.env.K: write the value itself"),
        ),
        ({"mcp": {"mcpServers": {"common": {"command": "x"}}}}, "mcp", "mcpServers.common: the deployment has"),
    ],
)
async def test_what_is_wrong_is_told_at_its_field(house: House, wrong: dict[str, Any], field: str, words: str):
    common = parse('{"mcpServers": {"common": {"command": "true"}}}', {})
    house = configured(house, common)
    answer = await house.http.post("/api/agents", json=REVIEWER | wrong)
    assert answer.status_code == 422
    errors = [each for each in answer.json()["errors"] if each["field"] == field]
    assert errors, answer.text
    assert words in errors[0]["message"]
    assert TOKEN not in answer.text
    assert house.stored() == []


async def test_people_have_their_own_and_admins_make_the_teams(house: House):
    ann, eve = await house.key("ann"), await house.key("eve")
    own = await make(house, ann, name="Ann's")
    common = await make(house, name="Ours", team=True)
    assert (await house.http.post("/api/agents", json=REVIEWER | {"team": True}, headers=ann)).status_code == 403

    listed = (await house.http.get("/api/agents", headers=ann)).json()["agents"]
    assert [each["name"] for each in listed] == ["Ann's", "Ours"]
    assert [each["name"] for each in (await house.http.get("/api/agents")).json()["agents"]] == ["Ours"]
    written = {name: own[name] for name in (*REVIEWER, "revision")}
    for headers in (eve, {}):  # a stranger, and an admin, for whom somebody's tokens are none of their business
        path = f"/api/agents/{own['id']}"
        assert (await house.http.get(path, headers=headers)).status_code == 404
        assert (await house.http.put(path, json=written, headers=headers)).status_code == 404
        assert (await house.http.delete(path, headers=headers)).status_code == 404
        begin = {"message": "hi", "agent": own["id"]}
        assert (await house.http.post("/api/sessions", json=begin, headers=headers)).status_code == 404
    path = f"/api/agents/{common['id']}"
    assert (await house.http.put(path, json=written, headers=ann)).status_code == 403
    assert (await house.http.delete(path, headers=ann)).status_code == 403
    begun = await house.http.post("/api/sessions", json={"message": "hi", "agent": common["id"]}, headers=ann)
    assert begun.status_code == 202
    refused = {each["action"] for each in (await house.http.get("/api/audit")).json()["entries"]}
    assert refused == {"agent.make", "session.begin"}


async def test_two_editors_do_not_overwrite_each_other_and_a_repeat_is_no_change(house: House):
    made = await make(house)
    first = await change(house, made, prompt="First")
    assert (await change(house, made, prompt="First")).json() == first.json()
    second = await change(house, made, prompt="Second")
    assert second.status_code == 412
    assert "revision 2" in second.json()["detail"]
    assert (await house.http.get(f"/api/agents/{made['id']}")).json()["prompt"] == "First"


async def test_one_key_makes_one_agent(house: House):
    key = {"Idempotency-Key": "once"}
    made = [await make(house, key) for _ in range(2)]
    assert made[0] == made[1]
    assert (await house.http.post("/api/agents", json=REVIEWER | {"name": "X"}, headers=key)).status_code == 409


async def test_there_is_an_end_to_them(house: House):
    store = house.services.store
    for number in range(MOST_AGENTS):
        await store.create("person:local", f"agent:{number}", {})
    answer = await house.http.post("/api/agents", json=REVIEWER)
    assert answer.status_code == 422
    assert "delete one first" in answer.json()["detail"]


async def test_a_session_begins_with_what_its_agent_says_unless_it_says_otherwise(house: House):
    made = await make(house)
    session = (await house.http.get(f"/api/sessions/{await house.begin(agent=made['id'])}")).json()
    assert session["agent"] == {"id": made["id"], "name": "Reviewer"}
    assert (session["model"], session["effort"], session["budget_usd"]) == ("gpt-5.2", "high", 3)
    id = await house.begin(agent=made["id"], model="gpt-5-mini", effort="low", budget_usd=None)
    config = await told(house, id)
    assert (config["model"], config["effort"]) == ("gpt-5-mini", "low")
    assert (config["agent_prompt"], config["tools"]) == (
        "You review pull requests.",
        ["shell", "view", "search", "propose_plan"],
    )
    plain = await told(house, await house.begin())
    assert (plain["agent_prompt"], plain["tools"], plain["mcp"]["servers"]) == ("", None, {})


async def test_sessions_are_listed_by_the_name_of_their_agent(house: House):
    made = await make(house)
    reviewed, _ = await house.begin(agent=made["id"]), await house.begin()
    await house.http.delete(f"/api/agents/{made['id']}")

    async def listed(agent: str) -> list[str]:
        answer = await house.http.get("/api/sessions", params={"agent": agent})
        return [each["id"] for each in answer.json()["sessions"]]

    assert (await listed("Reviewer"), await listed("Review"), len(await listed(""))) == ([reviewed], [], 2)
    page = (await house.http.get("/sessions", params={"agent": "Reviewer"})).text
    assert 'value="Reviewer"' in page
    assert page.count('<input type="checkbox" value="s-') == 1


async def test_editing_or_deleting_an_agent_changes_no_session(house: House):
    made = await make(house)
    id = await house.begin(agent=made["id"])
    before = await told(house, id)
    await change(house, made, prompt="Something else", tools=None, mcp=None)
    assert await told(house, id) == before
    await house.http.delete(f"/api/agents/{made['id']}")
    assert await told(house, id) == before
    assert (await house.http.get(f"/api/sessions/{id}")).json()["agent"]["name"] == "Reviewer"
    await house.services.log.purge(id)
    assert TOKEN not in json.dumps(house.stored())


async def test_a_repeat_of_a_session_finds_the_agent_of_its_first_try(house: House):
    made = await make(house)
    begin = {"message": "hi", "agent": made["id"]}
    key = {"Idempotency-Key": "begin"}
    first = await house.http.post("/api/sessions", json=begin, headers=key)
    other = await make(house, name="Other")
    await change(house, made, model="another-model")
    await house.http.delete(f"/api/agents/{made['id']}")
    again = await house.http.post("/api/sessions", json=begin, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    different = await house.http.post("/api/sessions", json=begin | {"agent": other["id"]}, headers=key)
    assert different.status_code == 409


async def test_a_name_that_the_deployment_took_since_is_refused_before_anything_is_kept(house: House):
    made = await make(house)
    running = await house.begin(agent=made["id"])
    taken = parse('{"mcpServers": {"tracker": {"command": "true"}, "more": {"command": "true"}}}', {})
    later = configured(house, taken)
    before = house.stored()
    answer = await later.http.post("/api/sessions", json={"message": "hi", "agent": made["id"]})
    assert answer.status_code == 409
    assert "the deployment has an MCP server of this name" in answer.json()["detail"]
    assert house.stored() == before
    servers = (await told(later, running))["mcp"]["servers"]
    assert servers["tracker"]["url"] == TRACKER["url"]  # what runs goes on as it began
    assert set(servers) == {"tracker", "thing", "more"}


async def test_who_only_reads_makes_none(house: House):
    reader = await house.key("ann", Scope.READ)
    assert (await house.http.post("/api/agents", json=REVIEWER, headers=reader)).status_code == 403


def test_the_tools_are_the_workers():
    from worker.tools import OWN

    assert [tool.name for tool in OWN] == list(TOOLS)
    assert set(TOOLS) >= ALWAYS
