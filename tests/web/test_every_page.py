"""Every page in both languages and both themes, on a desk and on a phone: accessible, whole, and with a silent console.

Screenshots of them all are left in var/screens for whoever wants to look.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from nightshift.agents import AgentFields, make_agent
from nightshift.models import Approval, Effect, ItemKind, Tokens, TurnUsage, UsageTotal
from nightshift.people import Preferences, Template, save_preferences
from nightshift.services import Services
from tests.web.conftest import NewSession, Say, attend

SCREENS = Path(__file__).parents[2] / "var" / "screens"
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PAGES = {
    "home": "/",
    "sessions": "/sessions?q=a",
    "chat": "/sessions/s-1",
    "failed": "/sessions/s-2",
    "cost": "/cost",
    "settings": "/settings",
    "agent": "/settings/agents/a-1",
    "admin": "/admin",
    "lost": "/sessions/nope",
}
DRAWERS = {"sessions": ".open-rail", "failed": ".open-panel"}
"""Opened on a phone, where they are not beside the page."""
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
WAYS = (("en", "light", DESK), ("ja", "dark", DESK), ("ja", "light", PHONE), ("en", "dark", PHONE))
LONG = "a-name-that-goes-on-and-on-" * 8


async def furnish(services: Services, new_session: NewSession, say: Say) -> None:
    usage = UsageTotal(tokens=Tokens(input=9000, cached=7000, output=800, reasoning=90, calls=4), cost_usd=0.4)
    todo = [{"text": f"Step {each}", "status": each} for each in ("done", "in_progress", "pending")]
    pull = {"repository": "octo/demo", "number": 7, "url": "https://example.com/7", "title": LONG, "branch": "b"}
    await new_session(
        title="A title", needs_user="plan", todo=todo, pull_requests=[pull], usage=usage.model_dump(), generation=2
    )
    await say(ItemKind.USER_MESSAGE, f"Look at `code`, **this** and {LONG}", author="Ann")
    await say(ItemKind.REASONING, "Let me think")
    await say(ItemKind.TOOL_CALL, name="edit", arguments='{"path": "a", "old": "x", "new": "y"}', call_id="a")
    await say(ItemKind.TOOL_OUTPUT, "\x1b[32mok\x1b[0m", call_id="a")
    await say(ItemKind.TOOL_CALL, name="shell", arguments=f'{{"command": "{LONG}"}}', call_id="b")
    ask = Effect(approval=Approval(action=f"git push --force {LONG}", reason="It cannot be undone."))
    await say(ItemKind.TOOL_OUTPUT, "waits", call_id="b", effect=ask)
    plan = Effect(approval=Approval(kind="plan", action=f"# A plan\n\n1. `{LONG}`\n2. Test it", reason="Wait."))
    await say(ItemKind.TOOL_CALL, name="propose_plan", arguments="{}", call_id="p")
    await say(ItemKind.TOOL_OUTPUT, "waits", call_id="p", effect=plan)
    await say(ItemKind.NOTICE, "Something to know", level="warning")
    await say(
        ItemKind.ASSISTANT_MESSAGE, f"# Done\n\n```python\ndef f(): ...\n```\n\n| a | b |\n|---|---|\n| {LONG} | 2 |"
    )
    await say(ItemKind.TOOL_CALL, name="shell", arguments='{"command": "sleep 9"}', call_id="c")
    failure = {"stage": "machine start", "reason": f"No capacity {LONG}", "advice": "Try elsewhere."}
    await new_session("s-2", LONG, phase="failed", failure=failure, item_seq=9)
    entry = TurnUsage(turn=1, model="gpt-5.2", tokens=Tokens(input=90_000, output=9000, calls=2))
    await services.log.record_usage("s-1", [entry, entry.model_copy(update={"model": "mystery"})])
    servers = {"mcpServers": {"tracker": {"url": "https://example.org/mcp", "headers": {"Authorization": "v"}}}}
    common = AgentFields.model_validate({"name": LONG[:60], "description": LONG, "mcp": servers})
    await make_agent(services.store, "local", "a-1", True, common)
    template = Template(name=LONG[:80], message="Write the notes", repository="octo/demo")
    await save_preferences(services.store, "local", Preferences(templates=[template]))


async def test_every_page_is_whole_and_accessible_in_every_way(
    browser: Any, url: str, services: Services, new_session: NewSession, say: Say
) -> None:
    await furnish(services, new_session, say)
    SCREENS.mkdir(parents=True, exist_ok=True)
    found: list[str] = []
    for language, theme, size in WAYS:
        context = await browser.new_context(viewport=size, locale=language, color_scheme=theme)
        await context.request.post(f"{url}/api/keys", data={"days": 3})
        for name, path in PAGES.items():
            page = await context.new_page()
            complaints = attend(page)
            await page.goto(url + path)
            await page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true })")
            if size is PHONE and name in DRAWERS:
                await page.locator(DRAWERS[name]).click()
            if name == "admin":
                await page.locator("#now section").first.wait_for()
            where = f"{name}-{language}-{theme}-{size['width']}"
            await page.screenshot(path=SCREENS / f"{where}.png", full_page=name != "chat")
            await page.evaluate(AXE)
            violations = (await page.evaluate("rules => axe.run(document, rules)", RULES))["violations"]
            found += [f"{where}: {each['id']} {[node['html'][:120] for node in each['nodes']]}" for each in violations]
            if await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                found.append(f"{where}: is wider than its window")
            if await page.evaluate("document.documentElement.lang") != language:
                found.append(f"{where}: is in another language")
            found += [
                f"{where}: {each}" for each in complaints if name != "lost"
            ]  # a browser's console tells of the 404
            await page.close()
        await context.close()
    assert found == [], "\n".join(found)
