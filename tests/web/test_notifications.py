"""Notifications in a real browser, as far as one gets without its maker's push service: the service worker, what it
shows, what a click opens, and the page that turns it all on and off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient

from nightshift.devices import list_devices, register
from nightshift.models import ItemKind
from nightshift.moments import Moment
from nightshift.people import read_places
from nightshift.services import Services
from nightshift.webpush import WebPush
from tests.pushservice import Browser
from tests.web.conftest import NewSession, Say, fixture, opened, until

NEWS = {"title": "Mend the parser", "body": "Wants your yes", "url": "/sessions/s-1", "tag": "s-1"}
SHOWN = "navigator.serviceWorker.ready.then(worker => worker.getNotifications())"


@fixture
async def allowed(browser: Any, url: str) -> AsyncIterator[Any]:
    """A page whose browser lets this site notify."""
    async with opened(browser) as page:
        await page.context.grant_permissions(["notifications"], origin=url)
        yield page


async def pushed(page: Any, news: dict[str, str]) -> None:
    """What the browser does when its push service brings something: the real service worker gets it."""
    await page.evaluate(
        "navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready).then(() => 1)"
    )
    session = await page.context.new_cdp_session(page)
    registered: asyncio.Queue[str] = asyncio.Queue()

    def hear(event: dict[str, Any]) -> None:
        for each in event["registrations"]:
            registered.put_nowait(each["registrationId"])

    session.on("ServiceWorker.workerRegistrationUpdated", hear)
    await session.send("ServiceWorker.enable")
    id = await asyncio.wait_for(registered.get(), 10)
    origin = await page.evaluate("location.origin")
    await session.send(
        "ServiceWorker.deliverPushMessage", {"origin": origin, "registrationId": id, "data": json.dumps(news)}
    )
    await session.detach()


async def test_a_push_is_shown_and_the_next_of_its_session_takes_its_place(allowed: Any, url: str) -> None:
    await allowed.goto(f"{url}/cost")
    await pushed(allowed, NEWS)
    await until(allowed, f"{SHOWN}.then(all => all.length === 1)")
    await pushed(allowed, NEWS | {"body": "Done"})
    await until(allowed, f"{SHOWN}.then(all => all.length === 1 && all[0].body === 'Done')")
    await pushed(allowed, NEWS | {"tag": "s-2", "url": "/sessions/s-2"})
    await until(allowed, f"{SHOWN}.then(all => all.length === 2)")
    shown = await allowed.evaluate(f"{SHOWN}.then(all => all.map(each => [each.title, each.tag, each.data]).sort())")
    assert shown == [["Mend the parser", tag, f"/sessions/{tag}"] for tag in ("s-1", "s-2")]


async def test_the_page_that_is_looked_at_needs_no_notification(
    allowed: Any, url: str, new_session: NewSession
) -> None:
    await new_session()
    await allowed.goto(f"{url}/sessions/s-1")
    await allowed.bring_to_front()
    await until(allowed, "document.hasFocus()")
    await pushed(allowed, NEWS | {"tag": "other", "url": "/sessions/other"})
    await until(allowed, f"{SHOWN}.then(all => all.length === 1)")
    await pushed(allowed, NEWS)
    await pushed(allowed, NEWS | {"tag": "last", "url": "/sessions/last"})
    await until(allowed, f"{SHOWN}.then(all => all.map(each => each.tag).sort().join() === 'last,other')")


@pytest.mark.parametrize(("there", "does"), [("/sessions/s-1", "focus"), ("/cost", "open")])
async def test_a_click_goes_to_the_page_of_the_session(
    allowed: Any, url: str, new_session: NewSession, there: str, does: str
) -> None:
    """Windows move only for a person's click, so what the worker asks the browser for is written down instead."""
    await new_session()
    await allowed.goto(url + there)
    await pushed(allowed, NEWS | {"tag": "s-0", "url": "/sessions/s-1"})
    [worker] = allowed.context.service_workers
    await worker.evaluate(
        """() => {
          self.asked = [];
          WindowClient.prototype.focus = function () { self.asked.push(['focus', new URL(this.url).pathname]); };
          Clients.prototype.openWindow = (url) => { self.asked.push(['open', url]); };
        }"""
    )
    await worker.evaluate(
        """async () => {
          await registration.showNotification('t', { tag: 's-1', data: '/sessions/s-1' });
          const [notification] = await registration.getNotifications({ tag: 's-1' });
          self.dispatchEvent(new NotificationEvent('notificationclick', { notification }));
        }"""
    )
    async with asyncio.timeout(10):
        while not (asked := await worker.evaluate("() => self.asked")):
            await asyncio.sleep(0.03)
    assert asked == [[does, "/sessions/s-1"]]
    assert await worker.evaluate("async () => (await registration.getNotifications({ tag: 's-1' })).length") == 0


async def test_the_worker_may_fetch_nothing_and_is_looked_for_anew(client: AsyncClient) -> None:
    answer = await client.get("/sw.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert "fetch" not in answer.text
    assert "caches" not in answer.text


async def test_a_phone_can_install_it(client: AsyncClient) -> None:
    page = (await client.get("/")).text
    assert '<link rel="manifest" href="/manifest.webmanifest" crossorigin="use-credentials">' in page
    answer = await client.get("/manifest.webmanifest")
    assert answer.headers["content-type"] == "application/manifest+json"
    manifest = answer.json()
    assert (manifest["display"], manifest["start_url"]) == ("standalone", "/")
    for icon in manifest["icons"]:
        assert (await client.get(icon["src"])).headers["content-type"] == icon["type"]


async def test_the_browser_takes_the_manifest(allowed: Any, url: str) -> None:
    await allowed.goto(url)
    session = await allowed.context.new_cdp_session(allowed)
    answer = await session.send("Page.getAppManifest")
    assert (answer["errors"], json.loads(answer["data"])["name"]) == ([], "Nightshift")


async def test_settings_say_where_it_stands_and_take_other_devices_away(
    allowed: Any, page: Any, url: str, services: Services
) -> None:
    phone = Browser("https://fcm.googleapis.com/phone", "").subscription
    await register(
        services.store, "local", phone, Moment, name="Chrome, Android", language="en",
        server_key=WebPush.of(services.settings).public_key,
    )  # fmt: skip
    await allowed.goto(f"{url}/settings")
    await allowed.get_by_text("Off in this browser.").wait_for()
    assert await allowed.get_by_role("button", name="Turn on here").is_visible()
    assert await allowed.get_by_role("button", name="Send a test").is_hidden()
    await allowed.get_by_text("Chrome, Android").wait_for()
    await allowed.get_by_role("button", name="Remove Chrome, Android").click()
    await until(allowed, "!document.querySelector('[data-device]')")
    assert await list_devices(services.store, "local") == []

    await page.context.grant_permissions([], origin=url)  # these and no others
    await page.goto(f"{url}/settings")
    await page.get_by_text("This browser does not allow notifications from here.").wait_for()
    assert await page.get_by_role("button", name="Turn on here").is_hidden()


async def test_a_browser_turns_on_changes_tests_and_turns_off(allowed: Any, url: str, services: Services) -> None:
    """The browser's own push service is out of reach here, so the page gets a subscription that a push service of this
    test's would give; all else is the page's."""
    mine = Browser("https://fcm.googleapis.com/mine", "")
    subscription = mine.subscription.model_dump()
    await allowed.add_init_script(
        f"""
        const given = {json.dumps(subscription)};
        let now = sessionStorage.subscribed ? given : null;
        const unsubscribe = async () => {{
          now = null;
          delete sessionStorage.subscribed;
        }};
        const made = () => now && {{ ...now, toJSON: () => now, unsubscribe }};
        PushManager.prototype.getSubscription = async () => made();
        PushManager.prototype.subscribe = async ({{ applicationServerKey, userVisibleOnly }}) => {{
          if (applicationServerKey.length !== 65 || !userVisibleOnly) throw new Error('no key');
          now = given;
          sessionStorage.subscribed = 1;
          return made();
        }};
        """
    )
    await allowed.goto(f"{url}/settings")
    await allowed.get_by_label("It is done").uncheck()
    await allowed.get_by_role("button", name="Turn on here").click()
    await allowed.get_by_text("On in this browser.").wait_for()
    [device] = await list_devices(services.store, "local")
    assert (device.subscription.endpoint, device.moments) == (mine.endpoint, [Moment.NEEDS, Moment.FAILED])
    assert device.language == "en"
    await allowed.reload()
    await allowed.get_by_text("On in this browser.").wait_for()
    await allowed.get_by_text("(this one)").wait_for()
    assert not await allowed.get_by_label("It is done").is_checked()
    await allowed.get_by_label("It is done").check()
    await allowed.get_by_text("Saved").wait_for()
    [device] = await list_devices(services.store, "local")
    assert device.moments == list(Moment)
    await allowed.get_by_role("button", name="Turn off here").click()
    await allowed.get_by_text("Off in this browser.").wait_for()
    assert await list_devices(services.store, "local") == []


async def test_a_tab_in_the_background_counts_its_news_in_its_title(
    page: Any, url: str, new_session: NewSession, say: Say
) -> None:
    await page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => true })")
    await page.goto(url)
    await new_session(phase="waiting", item_seq=1)
    await say(ItemKind.ASSISTANT_MESSAGE, "An answer")
    await until(page, "document.title.startsWith('(1) ')")


async def test_what_was_said_on_a_page_that_is_looked_at_is_read(
    allowed: Any, url: str, services: Services, new_session: NewSession, say: Say
) -> None:
    """So that nobody is told of what they see."""
    await new_session(phase="waiting", item_seq=1)
    await say(ItemKind.ASSISTANT_MESSAGE, "An answer")
    async with allowed.expect_response("**/read"):
        await allowed.goto(f"{url}/sessions/s-1")
    assert await read_places(services.store, "local") == {"s-1": 1}


@pytest.mark.parametrize("language", ["en", "ja"])
async def test_the_news_have_words(language: str) -> None:
    from nightshift.models import Need
    from nightshift.words import words

    for reason in (*Need, "done", "test"):
        assert words(language)(f"push.{reason}")
