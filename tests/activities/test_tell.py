"""The owner is told once of what a session came to: on every device that wants it, however often the activity runs."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from activities import tell as telling
from activities.janitor import tidy
from activities.session import project
from nightshift.devices import list_devices, register, remove
from nightshift.errors import Permanent
from nightshift.lifecycle import State
from nightshift.log import utc_now
from nightshift.models import Failure, ItemKind, Need, NewItem, Phase, Session, SessionRequest
from nightshift.moments import Moment
from nightshift.people import note_read
from nightshift.services import Services, build
from nightshift.settings import Settings, Webhook
from nightshift.webhook import SIGNATURE
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


async def test_a_fault_of_our_own_does_not_hold_the_session_up(
    ann: Owner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await ann.browser()

    def broken(language: str) -> object:
        raise KeyError(language)

    monkeypatch.setattr(telling, "words", broken)
    await ann.comes_to()
    assert "KeyError" in caplog.text
    assert await ann.owed() == 0


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


async def test_the_operators_webhook_is_told_what_owners_are_told_and_can_tell_by_whom(ann: Owner) -> None:
    with listener() as hook:
        settings = replace(ann.services.settings, webhook=Webhook(hook.url, "a secret of the two"))
        ann.services = replace(ann.services, settings=settings)
        hook.status = 503
        await ann.comes_to(last_need=Need.APPROVAL)
        assert await ann.owed() == 1
        hook.status = 204
        await note_read(ann.services.store, "ann", "s-1", 2)  # she knows, but the program does not
        await ann.next_round()
        await ann.next_round()
    first, repeat = hook.came
    assert first == repeat
    body, signature = repeat
    assert signature == "sha256=" + hmac.new(b"a secret of the two", body, hashlib.sha256).hexdigest()
    news = json.loads(body)
    assert datetime.fromisoformat(news.pop("at")) <= utc_now()
    assert news == {
        "id": "s-1:1:approval",
        "session": "s-1",
        "owner": "ann",
        "title": "Mend the parser",
        "phase": "waiting",
        "reason": "approval",
        "url": "http://127.0.0.1:7071/sessions/s-1",
    }
    assert await ann.owed() == 0


async def test_a_webhook_that_refuses_is_not_asked_again(ann: Owner) -> None:
    with listener() as hook:
        settings = replace(ann.services.settings, webhook=Webhook(hook.url, "a secret of the two"))
        ann.services = replace(ann.services, settings=settings)
        hook.status = 404
        await ann.comes_to()
        await ann.next_round()
    assert (len(hook.came), await ann.owed()) == (1, 0)


@pytest.mark.parametrize(
    "environment",
    [
        {"NIGHTSHIFT_WEBHOOK_URL": "https://hook.example"},
        {"NIGHTSHIFT_WEBHOOK_SECRET": "s" * 16},
        {"NIGHTSHIFT_WEBHOOK_URL": "http://hook.example", "NIGHTSHIFT_WEBHOOK_SECRET": "s" * 16},
        {"NIGHTSHIFT_WEBHOOK_URL": "https://hook.example", "NIGHTSHIFT_WEBHOOK_SECRET": "short"},
    ],
)
def test_a_webhook_is_set_up_whole_or_not_at_all(environment: dict[str, str]) -> None:
    with pytest.raises(Permanent, match="NIGHTSHIFT_WEBHOOK_URL"):
        Settings.read({"NIGHTSHIFT_SIGNING_KEY": "k" * 64} | environment)


@dataclass
class Listener:
    """The operator's program."""

    url: str = ""
    status: int = 204
    came: list[tuple[bytes, str]] = field(default_factory=list[tuple[bytes, str]])


@contextmanager
def listener() -> Generator[Listener]:
    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.came.append((body, self.headers[SIGNATURE]))
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    hook = Listener(f"http://127.0.0.1:{server.server_port}/nightshift")
    threading.Thread(target=server.serve_forever).start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
