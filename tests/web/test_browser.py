"""The pages in a real browser on a real server."""

from __future__ import annotations

import asyncio
from typing import Any

from nightshift.models import ItemKind
from nightshift.services import Services
from tests.web.conftest import Joined, NewSession, Say, until


async def posted(services: Services) -> list[str]:
    return [item.text for item in await services.log.items("s-1") if item.kind is ItemKind.USER_MESSAGE]


async def test_the_chat_follows_the_log_and_sends_once(
    page: Any, url: str, services: Services, new_session: NewSession, say: Say
) -> None:
    await new_session()
    await say(ItemKind.USER_MESSAGE, "Fix the **bug**")
    await say(ItemKind.TOOL_CALL, name="shell", arguments='{"command": "make test"}', call_id="c")
    await page.goto(f"{url}/sessions/s-1")
    await page.locator("#item-2 .line", has_text="make test").wait_for()
    assert await page.locator("strong", has_text="bug").is_visible()
    assert await page.locator("#item-2 .running").count() == 1

    await page.locator("#item-2 summary").click()
    await say(ItemKind.TOOL_OUTPUT, "12 passed", call_id="c")
    await say(ItemKind.ASSISTANT_MESSAGE, "All is well", final=True)
    await page.get_by_text("All is well").wait_for()
    assert await page.locator("#item-2 .ok[open]").get_by_text("12 passed").is_visible()

    await page.get_by_label("Message to the agent").fill("Thank you")
    await page.keyboard.press("Control+Enter")
    await page.locator(".bubble", has_text="Thank you").wait_for()
    await page.wait_for_timeout(3500)  # a poll later there is still one of each
    ids = await page.locator("#log > .item").evaluate_all("rows => rows.map(row => row.id)")
    assert ids == ["item-1", "item-2", "item-4", "item-5"]
    assert await posted(services) == ["Fix the **bug**", "Thank you"]


async def test_a_message_whose_answer_is_lost_is_restored_and_posted_once(
    page: Any, url: str, services: Services, new_session: NewSession
) -> None:
    await new_session()
    await page.goto(f"{url}/sessions/s-1")
    keys: list[str] = []

    async def lose_the_first_answer(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        answer = await route.fetch()
        await (route.abort() if len(keys) == 1 else route.fulfill(response=answer))

    await page.route("**/messages", lose_the_first_answer)
    area = page.get_by_label("Message to the agent")
    await area.fill("Only once")
    await page.get_by_role("button", name="Send").click()
    await page.get_by_text("cannot be reached").wait_for()
    assert await area.input_value() == "Only once"
    await page.get_by_role("button", name="Send").click()
    await until(page, "document.getElementById('text').value === ''")
    await page.locator(".bubble", has_text="Only once").wait_for()
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert await posted(services) == ["Only once"]
    page.complaints[:] = [text for text in page.complaints if "ERR_FAILED" not in text]  # the lost answer itself


async def test_a_new_session_is_begun_from_the_list_and_can_be_deleted(page: Any, url: str, services: Services) -> None:
    await page.goto(url)
    await page.get_by_label("What should be done?").fill("Write a haiku")
    await page.get_by_label("Repository", exact=True).fill("octo/demo")
    await page.get_by_role("button", name="Start session").click()
    await page.wait_for_url("**/sessions/s-*")
    await page.locator(".bubble", has_text="Write a haiku").wait_for()
    [session], _ = await services.log.sessions(10)
    assert session.request.repository == "octo/demo"

    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_role("button", name="Keep it").click()
    assert await services.log.controls(session.id) == []
    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_role("button", name="Delete session").click()
    await page.wait_for_url(f"{url}/")
    assert [control.kind for control in await services.log.controls(session.id)] == ["delete"]


async def test_escape_interrupts_and_buttons_follow_the_phase(
    page: Any, url: str, services: Services, new_session: NewSession
) -> None:
    await new_session()
    await page.goto(f"{url}/sessions/s-1")
    async with page.expect_response("**/interrupt"):
        await page.keyboard.press("Escape")
    assert [control.kind for control in await services.log.controls("s-1")] == ["interrupt"]
    await services.log.project("s-1", 2, {"phase": "stopped", "stage": ""})
    await page.get_by_role("button", name="Resume").wait_for()
    assert not await page.get_by_role("button", name="Stop", exact=True).is_visible()


async def test_hints_of_the_live_channel_are_followed_and_it_is_joined_again(
    channel: Joined, page: Any, url: str, new_session: NewSession, say: Say
) -> None:
    await new_session()
    await page.goto(f"{url}/sessions/s-1")
    for text in ("at once", "after a reconnect"):
        socket = await asyncio.wait_for(channel.get(), 10)
        await page.wait_for_timeout(500)  # let the fetch that follows a connection pass: only the hint is left
        await say(ItemKind.NOTICE, text)
        await socket.send('{"type": "message", "from": "group", "data": {"session": "s-1", "seq": 1}}')
        await page.get_by_text(text).wait_for()
        await socket.close()


async def test_older_items_load_and_the_list_refreshes_itself(
    page: Any, url: str, new_session: NewSession, say: Say
) -> None:
    await new_session()
    for number in range(230):
        await say(ItemKind.NOTICE, f"notice {number}")
    await page.goto(f"{url}/sessions/s-1")
    await page.evaluate("scrollTo(0, 0)")
    await page.locator("#item-1").wait_for(state="attached")
    seqs = await page.locator("#log > .item").evaluate_all("rows => rows.map(row => Number(row.dataset.seq))")
    assert seqs == list(range(1, 231))

    await page.evaluate("scrollTo(0, 0)")
    await say(ItemKind.NOTICE, "news")
    await page.get_by_role("button", name="Jump to latest").click()
    assert await page.get_by_text("news").is_visible()

    await page.goto(url)
    await new_session("s-2", "Another one")
    await page.get_by_role("link", name="Another one").wait_for()


async def test_hostile_items_run_nothing(page: Any, url: str, new_session: NewSession, say: Say) -> None:
    attack = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>"
    await new_session(title=attack)
    for kind in ItemKind:
        await say(kind, attack, name=attack, call_id="c", arguments=f'{{"command": "{attack}"}}')
    await page.goto(f"{url}/sessions/s-1")
    await say(ItemKind.NOTICE, attack)
    await page.locator("#item-7").wait_for()
    await page.goto(url)
    await page.get_by_role("link", name=attack, exact=True).wait_for()
    assert await page.evaluate("window.pwned") is None
