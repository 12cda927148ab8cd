"""The owner is told once of what a session came to: on every device that wants it, however often the activity runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activities import tell as telling
from activities.janitor import tidy
from activities.session import project
from nightshift.devices import list_devices, register, remove
from nightshift.lifecycle import State
from nightshift.log import utc_now
from nightshift.models import Failure, ItemKind, Need, NewItem, Phase, Session, SessionRequest
from nightshift.moments import Moment
from nightshift.people import note_read
from nightshift.services import Services, build
from nightshift.settings import Settings
from nightshift.webpush import WebPush
from tests.api.house import Bells, NoMachines
from tests.pushservice import Browser, PushService, push_service

OVER: dict[str, Any] = {"phase": Phase.WAITING, "last_message_seq": 1, "answered_seq": 1, "item_seq": 2}


class Owner:
    """A person with a session and some browsers."""

    def __init__(self, services: Services, service: PushService) -> None:
        self.services = services
        self.service = service
        self.revision = 1

    async def begin(self) -> None:
        now = utc_now()
        request = SessionRequest(message="Do it", title="Mend the parser")
        session = Session(id="s-1", owner="ann", request=request, created_at=now, updated_at=now)
        await self.services.log.create_session(session)
        for kind, text in ((ItemKind.USER_MESSAGE, "Do it"), (ItemKind.ASSISTANT_MESSAGE, "Done")):
            await self.services.log.append_item("s-1", NewItem(kind=kind, text=text))

    async def browser(self, *moments: Moment, owner: str = "ann", language: str = "en", key: str = "") -> Browser:
        browser = self.service.subscribe(key or WebPush.of(self.services.settings).public_key)
        await register(
            self.services.store,
            owner,
            browser.subscription,
            moments or Moment,
            name="Firefox",
            language=language,
            server_key=browser.server_key,
        )
        return browser

    async def comes_to(self, **changes: Any) -> State:
        """What the orchestration does when the state shows something new."""
        self.revision += 1
        state = State.model_validate({"session_id": "s-1", "revision": self.revision} | OVER | changes)
        await project(self.services, state)
        return state

    async def next_round(self) -> None:
        await tidy(self.services, Bells())

    async def owed(self) -> int:
        return len((await self.services.store.newest("owed")).documents)


@pytest.fixture
async def ann(tmp_path: Path) -> AsyncIterator[Owner]:
    with push_service() as service:
        settings = Settings(data_dir=tmp_path, signing_key="k" * 64, push_services=(service.origin,))
        services = replace(build(settings), machines=NoMachines())
        owner = Owner(services, service)
        await owner.begin()
        yield owner
        await services.close()


async def test_every_browser_of_the_owner_is_told_in_its_language_and_nobody_elses(ann: Owner) -> None:
    english, japanese, bobs = await ann.browser(), await ann.browser(language="ja"), await ann.browser(owner="bob")
    await ann.comes_to()
    for browser, body in ((english, "Done: it has an answer for you"), (japanese, "完了しました。回答があります")):
        assert browser.got == [{"title": "Mend the parser", "body": body, "url": "/sessions/s-1", "tag": "s-1"}]
    assert bobs.got == []


@pytest.mark.parametrize(
    ("changes", "moment", "body"),
    [
        ({}, Moment.DONE, "Done: it has an answer for you"),
        ({"last_need": Need.APPROVAL}, Moment.NEEDS, "Wants your yes before it goes on"),
        ({"last_need": Need.PLAN}, Moment.NEEDS, "Has a plan for you to look at"),
        ({"last_need": Need.BUDGET}, Moment.NEEDS, "The budget is used up"),
        ({"last_need": Need.LIMIT}, Moment.NEEDS, "Steps or time are used up"),
        ({"last_need": Need.FAILURE}, Moment.FAILED, "Failed"),
        (
            {"phase": Phase.FAILED, "answered_seq": 0, "failure": Failure(stage="s", reason="r")},
            Moment.FAILED,
            "Failed",
        ),
    ],
)
async def test_each_moment_reaches_those_that_want_it(
    ann: Owner, changes: dict[str, Any], moment: Moment, body: str
) -> None:
    wants = await ann.browser(moment)
    others = await ann.browser(*(set(Moment) - {moment}))
    await ann.comes_to(**changes)
    assert ([each["body"] for each in wants.got], others.got) == ([body], [])
    assert wants.headers[0]["Urgency"] == ("normal" if moment is Moment.DONE else "high")


async def test_it_is_told_once_however_often_it_is_projected(ann: Owner) -> None:
    browser = await ann.browser()
    state = await ann.comes_to()
    await project(ann.services, state)  # the activity's answer was lost
    await ann.comes_to(title="Another title")
    await ann.comes_to(phase=Phase.STOPPING)
    await ann.next_round()
    assert len(browser.got) == 1
    await ann.comes_to(phase=Phase.WORKING, last_message_seq=3, item_seq=3)
    await ann.comes_to(last_message_seq=3, answered_seq=3, item_seq=4)
    assert len(browser.got) == 2
    assert len({headers["Topic"] for headers in browser.headers}) == 1


async def test_an_approval_is_still_the_same_when_the_machine_was_put_away_meanwhile(ann: Owner) -> None:
    browser = await ann.browser()
    for phase, generation in ((Phase.WAITING, 1), (Phase.STOPPED, 1), (Phase.WAITING, 2)):
        await ann.comes_to(phase=phase, generation=generation, last_need=Need.APPROVAL)
    assert len(browser.got) == 1


async def test_a_session_that_fails_again_after_another_start_is_told_again(ann: Owner) -> None:
    browser = await ann.browser()
    for generation in (3, 3, 6):
        await ann.comes_to(phase=Phase.FAILED, generation=generation, answered_seq=0)
    assert len(browser.got) == 2


async def test_a_crash_between_sending_and_noting_shows_nothing_twice(
    ann: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repeat has the same topic and tag, by which push service and browser put it in the place of the first."""
    browser = await ann.browser()

    async def dies(*_: object) -> None:
        raise ConnectionError("the process dies here")

    with monkeypatch.context() as patched:
        patched.setattr(telling, "_keep", dies)
        with pytest.raises(ConnectionError):
            await ann.comes_to()
    ann.revision -= 1
    await ann.comes_to()
    assert [each["tag"] for each in browser.got] == ["s-1", "s-1"]
    assert len({headers["Topic"] for headers in browser.headers}) == 1


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.WORKING, Phase.STOPPING, Phase.STOPPED, Phase.DELETING])
async def test_nothing_is_told_while_it_works_or_after_a_stop(ann: Owner, phase: Phase) -> None:
    browser = await ann.browser()
    await ann.comes_to(phase=phase)
    assert browser.got == []


async def test_whoever_has_read_it_or_stopped_the_turn_is_not_told(ann: Owner) -> None:
    browser = await ann.browser()
    await note_read(ann.services.store, "ann", "s-1", 2)
    await ann.comes_to()
    notice = NewItem(kind=ItemKind.NOTICE, code="turn_interrupted", text="Stopped")
    for item in (NewItem(kind=ItemKind.USER_MESSAGE, text="More"), notice):
        await ann.services.log.append_item("s-1", item)
    await ann.comes_to(last_message_seq=3, answered_seq=3, item_seq=4)
    assert browser.got == []


@pytest.mark.parametrize("status", [404, 410])
async def test_a_browser_that_took_its_subscription_back_is_removed(ann: Owner, status: int) -> None:
    gone, other = await ann.browser(), await ann.browser()
    gone.status = status
    await ann.comes_to()
    assert len(other.got) == 1
    assert [each.subscription.endpoint for each in await list_devices(ann.services.store, "ann")] == [other.endpoint]


async def test_a_browser_that_subscribed_with_an_earlier_key_is_removed(ann: Owner) -> None:
    old = await ann.browser(key=WebPush.of(Settings(signing_key="earlier" * 8)).public_key)
    await ann.comes_to()
    assert old.got == []
    assert await list_devices(ann.services.store, "ann") == []


@pytest.mark.parametrize("status", [429, 503])
async def test_what_a_push_service_could_not_take_is_told_by_the_janitor_to_that_browser_alone(
    ann: Owner, status: int
) -> None:
    reached, busy = await ann.browser(), await ann.browser()
    busy.status = status
    await ann.comes_to()
    await ann.next_round()
    assert (len(reached.got), busy.got) == (1, [])
    busy.status = 201
    await ann.next_round()
    await ann.next_round()
    assert (len(reached.got), len(busy.got)) == (1, 1)


async def test_a_refusal_is_logged_and_not_tried_again(ann: Owner, caplog: pytest.LogCaptureFixture) -> None:
    browser = await ann.browser()
    browser.status = 403
    with caplog.at_level(logging.INFO):
        await ann.comes_to()
    assert "403" in caplog.text
    assert browser.endpoint not in caplog.text
    browser.status = 201
    await ann.next_round()
    assert browser.got == []
    assert len(await list_devices(ann.services.store, "ann")) == 1


@pytest.mark.parametrize("change", ["goes on", "is read", "has no device"])
async def test_what_is_owed_is_dropped_when_it_is_no_news_any_more(ann: Owner, change: str) -> None:
    browser = await ann.browser()
    browser.status = 503
    await ann.comes_to()
    assert await ann.owed() == 1
    browser.status = 201
    match change:
        case "goes on":
            await ann.comes_to(phase=Phase.WORKING, last_message_seq=3)
        case "is read":
            await note_read(ann.services.store, "ann", "s-1", 2)
        case _:
            await remove(ann.services.store, (await list_devices(ann.services.store, "ann"))[0].id)
    await ann.next_round()
    assert (browser.got, await ann.owed()) == ([], 0)


async def test_news_that_are_an_hour_old_are_given_up(ann: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await ann.browser()
    browser.status = 503
    await ann.comes_to()
    assert await ann.owed() == 1
    later = utc_now() + timedelta(hours=1, minutes=1)
    monkeypatch.setattr(telling, "utc_now", lambda: later)
    await ann.next_round()
    assert await ann.owed() == 0


async def test_a_push_service_that_says_nothing_holds_the_session_up_no_longer_than_its_time(
    ann: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "TIME", 0.5)
    slow = await ann.browser()
    slow.holds = True
    await ann.comes_to()  # returns, though the service is silent until the test's end
    assert (ann.service.asked.is_set(), slow.got, await ann.owed()) == (True, [], 1)
