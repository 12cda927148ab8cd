"""What people do on the pages, in a real browser: each thing once, from beginning to end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from bench.talk import talk
from nightshift.models import Approval, Effect, ItemKind
from nightshift.people import preferences
from nightshift.services import Services
from tests.web.conftest import Joined, NewSession, Say, until

HOLD = """async () => {
  for (let frames = 0; frames < 2; frames += 1) await new Promise(requestAnimationFrame);
  window.held = [...document.querySelectorAll('.item')].find((row) => row.getBoundingClientRect().bottom > 200);
  window.heldAt = held.getBoundingClientRect().top;
}"""


async def seqs(page: Any) -> list[int]:
    return await page.locator("#log > .item").evaluate_all("rows => rows.map(row => Number(row.dataset.seq))")


async def test_a_long_conversation_scrolls_to_its_beginning_and_back_in_a_bounded_page(
    page: Any, url: str, tmp_path: Path, new_session: NewSession, say: Say
) -> None:
    """Each item is shown once and in its place, and what is looked at stays where it is."""
    await new_session(phase="waiting")
    talk(tmp_path / "nightshift.db", "s-1", 3_000)
    await page.goto(f"{url}/sessions/s-1")

    async def hold(route: Any) -> None:
        await page.evaluate(HOLD)
        await route.continue_()

    await page.route("**/fragment?before=*", hold)
    seen = set(await seqs(page))
    while 1 not in seen:
        first = min(seen)
        await page.evaluate("scrollTo(0, 300)")
        await until(page, f"Number(document.querySelector('#log > .item').dataset.seq) < {first}")
        assert abs(await page.evaluate("held.getBoundingClientRect().top - heldAt")) < 2
        shown = await seqs(page)
        assert shown == sorted(set(shown))
        assert len(shown) <= 800
        seen.update(shown)
    assert seen == {seq for seq in range(1, 3_001) if seq % 4 != 3}  # an output is shown in the row of its call
    await say(ItemKind.NOTICE, "news")
    await page.get_by_role("button", name="Jump to latest").click()
    await page.locator("#item-3001", has_text="news").wait_for()
    assert (await seqs(page))[0] > 2_800


async def test_what_was_written_survives_a_reload_and_a_lost_connection(
    page: Any, url: str, services: Services, new_session: NewSession, say: Say
) -> None:
    await new_session()
    await page.goto(f"{url}/sessions/s-1")
    area = page.get_by_label("Message to the agent")
    await area.fill("half a thought")
    await page.reload()
    assert await area.input_value() == "half a thought"

    await page.context.set_offline(True)
    await say(ItemKind.ASSISTANT_MESSAGE, "said meanwhile")
    await page.get_by_text("Connection lost").wait_for()
    await page.get_by_role("button", name="Send").click()
    await page.get_by_text("cannot be reached").wait_for()
    assert await area.input_value() == "half a thought"
    await page.context.set_offline(False)
    await page.get_by_text("said meanwhile").wait_for()
    await page.get_by_role("button", name="Send").click()
    await page.locator(".bubble", has_text="half a thought").wait_for()
    assert await seqs(page) == [1, 2]
    await page.reload()
    assert await area.input_value() == ""
    page.complaints[:] = [text for text in page.complaints if "ERR_INTERNET_DISCONNECTED" not in text]


async def test_a_second_tab_shows_the_same_once(page: Any, url: str, new_session: NewSession) -> None:
    await new_session()
    other = await page.context.new_page()
    for each in (page, other):
        await each.goto(f"{url}/sessions/s-1")
    for number, each in enumerate((page, other, page)):
        await each.get_by_label("Message to the agent").fill(f"message {number}")
        await each.keyboard.press("Control+Enter")
        for tab in (page, other):
            await tab.locator(".bubble", has_text=f"message {number}").wait_for()
    assert await seqs(page) == await seqs(other) == [1, 2, 3]
    await other.close()


async def test_a_risky_action_is_approved_once(
    page: Any, url: str, services: Services, new_session: NewSession, say: Say
) -> None:
    await new_session()
    ask = Effect(approval=Approval(action="git push --force", reason="It rewrites history."))
    for call in ("a", "b"):
        await say(ItemKind.TOOL_CALL, id=f"call-{call}", name="shell", arguments="{}", call_id=call)
        await say(ItemKind.TOOL_OUTPUT, "waits", call_id=call, effect=ask)
    await page.goto(f"{url}/sessions/s-1")
    await page.locator("[data-approval=call-b]").get_by_role("button", name="Approve").click()
    await page.locator(".bubble", has_text="Approved: git push --force").wait_for()
    said = [item for item in await services.log.items("s-1") if item.kind is ItemKind.USER_MESSAGE]
    assert [(item.text, item.approves) for item in said] == [("Approved: git push --force", "call-b")]
    assert await page.get_by_role("button", name="Approve").count() == 0
    await page.reload()
    await page.locator(".approval.settled").first.wait_for()
    assert await page.get_by_role("button", name="Approve").count() == 0


async def test_a_plan_is_asked_for_changed_and_approved(
    page: Any, url: str, services: Services, new_session: NewSession, say: Say
) -> None:
    await new_session(phase="waiting")
    await page.goto(f"{url}/sessions/s-1")
    await page.get_by_label("Message to the agent").fill("Add a login")
    await page.get_by_label("Plan first").check()
    await page.get_by_role("button", name="Send").click()
    await page.locator(".user_message", has_text="Plan first").wait_for()
    assert not await page.get_by_label("Plan first").is_checked()
    ask = Effect(approval=Approval(kind="plan", action="# Login\n\n1. A form", reason="Nothing is changed before."))
    await say(ItemKind.TOOL_CALL, id="call-p", name="propose_plan", arguments="{}", call_id="p")
    await say(ItemKind.TOOL_OUTPUT, "The user has the plan.", call_id="p", effect=ask)
    card = page.get_by_role("group", name="The agent's plan")
    await card.get_by_role("heading", name="Login").wait_for()
    await card.get_by_role("button", name="Change").focus()
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "text"
    await card.get_by_role("button", name="Go ahead").focus()
    await page.keyboard.press("Enter")
    await page.locator(".bubble", has_text="Go ahead with the plan.").wait_for()
    said = [item for item in await services.log.items("s-1") if item.kind is ItemKind.USER_MESSAGE]
    assert [(item.plan, item.approves) for item in said] == [(True, None), (None, "call-p")]


async def test_a_new_session_may_begin_with_a_plan(page: Any, url: str, services: Services) -> None:
    await page.goto(url)
    await page.get_by_label("What should be done?").fill("Add a login")
    await page.get_by_label("Plan first").check()
    await page.reload()
    assert await page.get_by_label("Plan first").is_checked(), "it is part of the draft"
    await page.get_by_role("button", name="Start session").click()
    await page.locator(".user_message", has_text="Plan first").wait_for()
    [session], _ = await services.log.sessions(2)
    assert session.request.plan


async def test_a_session_that_needs_its_user_says_so_everywhere(
    page: Any, url: str, services: Services, new_session: NewSession
) -> None:
    await new_session(phase="waiting")
    await page.goto(f"{url}/sessions/s-1")
    await services.log.project("s-1", 2, {"phase": "stopped", "needs_user": "approval"})
    await page.locator("#head .badge.asks", has_text="needs your yes").wait_for()
    await page.locator("#panel .badge.asks", has_text="needs your yes").wait_for()
    await page.locator("#rail .dot.asks").wait_for()
    await until(page, "document.title === '● Do it · Nightshift'")
    await services.log.project("s-1", 3, {"phase": "working", "needs_user": None})
    await page.locator("#head .badge.working").wait_for()
    await until(page, "document.title === 'Do it · Nightshift'")
    await services.log.project("s-1", 4, {"phase": "failed", "needs_user": "failure"})
    await page.goto(f"{url}/sessions")
    await page.locator("main .badge.failed").first.wait_for()


async def test_what_the_model_writes_is_shown_until_its_item_is_there(
    channel: Joined, page: Any, url: str, new_session: NewSession, say: Say
) -> None:
    await new_session()
    await page.goto(f"{url}/sessions/s-1")
    socket = await asyncio.wait_for(channel.get(), 10)

    async def draft(id: str, text: str, kind: str = "text", offset: int = 0) -> None:
        data = {"session": "s-1", "draft": {"turn": 1, "id": id, "kind": kind, "offset": offset, "text": text}}
        await socket.send(json.dumps({"type": "message", "from": "group", "data": data}))

    drafts = page.locator("#drafts .draft")
    await draft("1.1.1", "<b>Let me", "reasoning")
    await drafts.get_by_text("<b>Let me").wait_for()
    await draft("1.1.2", "Here is")
    await draft("1.1.2", "is the answer", offset=5)
    await drafts.get_by_text("Here is the answer").wait_for()
    assert await drafts.count() == 2
    await draft("1.2.1", "Another reply")
    await drafts.get_by_text("Another reply").wait_for()
    assert await drafts.count() == 1
    await say(ItemKind.ASSISTANT_MESSAGE, "Another reply, whole", id="1.2.1")
    await socket.send('{"type": "message", "from": "group", "data": {"session": "s-1", "seq": 1}}')
    await page.locator("#item-1").get_by_text("Another reply, whole").wait_for()
    await until(page, "document.querySelectorAll('#drafts .draft').length === 0")


async def test_a_long_output_is_fetched_when_its_row_is_opened(
    page: Any, url: str, new_session: NewSession, say: Say
) -> None:
    await new_session()
    await say(ItemKind.TOOL_CALL, name="shell", arguments='{"command": "make"}', call_id="c")
    await say(ItemKind.TOOL_OUTPUT, "line\n" * 1000 + "\x1b[31mthe end", call_id="c")
    await page.goto(f"{url}/sessions/s-1")
    assert "the end" not in await page.content()
    await page.locator("#item-1 summary").click()
    await page.locator("#item-1 .t-red", has_text="the end").wait_for()


async def test_news_are_counted_until_they_are_read(
    page: Any, url: str, services: Services, new_session: NewSession, say: Say
) -> None:
    await new_session(phase="waiting", item_seq=1, title="Has an answer")
    await say(ItemKind.ASSISTANT_MESSAGE, "An answer")
    await page.goto(url)
    await until(page, "document.title.startsWith('(1) ')")
    async with page.expect_response("**/read"):
        await page.locator(".rail-row.unread").click()
    await page.goto(url)
    assert not (await page.title()).startswith("(")
    await say(ItemKind.ASSISTANT_MESSAGE, "Another answer")
    await services.log.project("s-1", 2, {"item_seq": 2})
    await until(page, "document.title.startsWith('(1) ')")
    await page.goto(f"{url}/sessions/s-1")
    await page.locator("#news + #item-2").wait_for()


async def test_sessions_are_found_and_several_are_deleted_unless_one_thinks_better_of_it(
    page: Any, url: str, services: Services, new_session: NewSession
) -> None:
    for number in range(3):
        await new_session(f"s-{number}", f"Task {number}", phase="failed" if number else "working")
    await page.goto(f"{url}/sessions")
    await page.get_by_label("State").select_option("failed")
    await page.wait_for_url("**phase=failed**")
    rows = page.locator("#sessions li")
    assert await rows.count() == 2
    await page.get_by_role("searchbox").fill("TASK 2")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**q=TASK**")
    assert await rows.locator(".title").all_inner_texts() == ["Task 2"]

    await page.get_by_label("Select Task 2").check()
    await page.locator("#bulk").get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Undo").click()
    assert await page.locator(".going").count() == 0
    await page.get_by_label("Select Task 2").check()
    await page.locator("#bulk").get_by_role("button", name="Delete").click()
    await page.goto(url)  # whoever leaves meant it
    async with asyncio.timeout(10):
        while not await services.log.controls("s-2"):
            await asyncio.sleep(0.05)
    assert [control.kind for control in await services.log.controls("s-2")] == ["delete"]
    assert await services.log.controls("s-1") == []


async def test_settings_are_kept_and_a_template_fills_the_form(page: Any, url: str, services: Services) -> None:
    await page.goto(f"{url}/settings")
    await page.get_by_label("What every agent of yours").fill("Small steps")
    await page.get_by_role("button", name="Add a template").click()
    await page.get_by_label("Name", exact=True).fill("Notes")
    await page.get_by_label("Task").fill("Write the notes")
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("Saved").wait_for()
    kept = await preferences(services.store, "local")
    assert (kept.prompt, [each.name for each in kept.templates]) == ("Small steps", ["Notes"])

    await page.get_by_role("button", name="Make a key").click()
    await page.locator("#made-key pre", has_text="ns_").wait_for()
    made = await page.locator("#made-key pre").inner_text()
    async with page.expect_response("**/api/sessions"):
        await page.evaluate("key => fetch('/api/sessions', { headers: { 'X-API-Key': key } })", made)
    await page.reload()
    assert made not in await page.content()
    await page.get_by_label("Colours").select_option("dark")
    await page.get_by_label("Language").select_option("ja")
    await page.get_by_role("heading", name="設定", exact=True).wait_for()
    assert '<html lang="ja" data-theme="dark"' in await (await page.context.request.get(url)).text()  # no flash

    await page.goto(url)
    await page.get_by_role("button", name="Notes").click()
    assert await page.get_by_label("何をしましょうか").input_value() == "Write the notes"


async def test_a_session_begins_with_files_and_a_budget(page: Any, url: str, services: Services) -> None:
    await page.goto(url)
    await page.get_by_label("What should be done?").fill("Look at this")
    await page.get_by_label("Budget").fill("2.5")
    pixel = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001"
        "f61738550000000049454e44ae426082"
    )
    await page.locator("input[type=file]").set_input_files(
        {"name": "a b.png", "mimeType": "image/png", "buffer": pixel}
    )
    await page.locator(".chips li").wait_for()
    await page.get_by_role("button", name="Start session").click()
    await page.wait_for_url("**/sessions/s-*")
    image = page.locator(".files img")
    await image.wait_for()
    await until(page, "document.querySelector('.files img').naturalWidth === 1")
    [session], _ = await services.log.sessions(1)
    [first] = await services.log.items(session.id)
    assert session.request.budget_usd == 2.5
    assert [(file.filename, file.size) for file in first.files] == [("a b.png", len(pixel))]


async def test_the_keyboard_is_enough(page: Any, url: str, new_session: NewSession, say: Say) -> None:
    for number in range(2):
        await new_session(f"s-{number}", f"Task {number}")
    await page.goto(url)
    await page.locator("body").press("Tab")
    assert await page.locator(":focus").inner_text() == "Skip to content"
    await page.keyboard.press("?")
    await page.get_by_role("heading", name="Keys").wait_for()
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await page.wait_for_url("**/sessions/s-1")
    await page.keyboard.press("j")
    await page.wait_for_url("**/sessions/s-0")
    await page.keyboard.press("n")
    await page.wait_for_url(url + "/")
    await page.get_by_label("What should be done?").press("n")
    assert page.url == url + "/"


async def test_a_message_is_written_again(page: Any, url: str, new_session: NewSession, say: Say) -> None:
    await new_session()
    await say(ItemKind.USER_MESSAGE, "Say *hello*\n\n- twice")
    await page.goto(f"{url}/sessions/s-1")
    await page.locator(".user_message").hover()
    await page.get_by_role("button", name="Edit and send again").click()
    assert await page.get_by_label("Message to the agent").input_value() == "Say *hello*\n\n- twice"


async def test_what_was_wrong_is_said_in_the_language_of_the_page(
    page: Any, url: str, services: Services, new_session: NewSession
) -> None:
    await new_session(phase="waiting")
    await page.context.add_cookies([{"name": "nightshift_language", "value": "ja", "url": url}])
    await page.goto(f"{url}/sessions/s-1")
    await services.log.project("s-1", 2, {"phase": "deleting"})
    await page.get_by_label("エージェントへのメッセージ").fill("まだ")
    await page.get_by_role("button", name="送信").click()
    await page.get_by_text("このセッションは削除中のため、何も受け付けません。").wait_for()
    page.complaints[:] = [text for text in page.complaints if "409" not in text]  # the refusal itself
