"""Devices over REST: everybody's own, known by their endpoint, and nobody else's to see, change or take away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from api.app import create_api
from nightshift.devices import MOST
from nightshift.webpush import WebPush
from tests.api.house import House, client
from tests.pushservice import Browser, PushService, push_service

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
CHROME_ON_ANDROID = {"User-Agent": "Mozilla/5.0 (Linux; Android 10; K) Chrome/140.0 Mobile Safari/537.36"}


def telling(house: House, service: PushService) -> House:
    settings = replace(house.services.settings, push_services=(service.origin,))
    services = replace(house.services, settings=settings)
    app = create_api(lambda: services)
    return replace(house, services=services, app=app, http=client(app, house.bells))


def browsers(house: House, service: PushService, count: int = 1) -> list[Browser]:
    return [service.subscribe(WebPush.of(house.services.settings).public_key) for _ in range(count)]


def body(browser: Browser, **fields: Any) -> dict[str, Any]:
    return {"subscription": browser.subscription.model_dump(), **fields}


async def put(house: House, browser: Browser, headers: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = await house.http.put("/api/devices", json=body(browser, **fields), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(house: House, headers: dict[str, str]) -> list[dict[str, Any]]:
    return (await house.http.get("/api/devices", headers=headers)).json()["devices"]


async def test_a_browser_is_registered_changed_and_removed(house: House):
    with push_service() as service:
        house = telling(house, service)
        ann = await house.key("ann")
        one, other = browsers(house, service, 2)
        made = await put(house, one, ann | FIREFOX)
        assert (made["name"], sorted(made["moments"])) == ("Firefox, Linux", ["done", "failed", "needs"])
        again = await put(house, one, ann | CHROME_ON_ANDROID, moments=["needs"], language="ja")
        assert (again["id"], again["created_at"]) == (made["id"], made["created_at"])
        assert again["name"] == "Chrome, Android"
        second = await put(house, other, ann)
        assert [device["id"] for device in await listed(house, ann)] == [second["id"], made["id"]]
        answer = await house.http.get("/api/devices", headers=ann)
        assert answer.json()["key"] == one.server_key
        secrets = (one.endpoint, one.subscription.keys.auth, one.subscription.keys.p256dh)
        assert not any(secret in answer.text for secret in secrets)
        for status in (204, 404):
            gone = await house.http.delete(f"/api/devices/{made['id']}", headers=ann)
            assert gone.status_code == status
        assert await listed(house, ann) == [second]


async def test_another_persons_browser_is_not_to_be_seen_tried_changed_or_removed(house: House):
    with push_service() as service:
        house = telling(house, service)
        ann, bob = await house.key("ann"), await house.key("bob")
        [browser] = browsers(house, service)
        made = await put(house, browser, ann)
        for who in (bob, {}):  # {}: the admin, who sees everybody's keys and sessions, but has no use for this
            assert await listed(house, who) == []
            for method, path in (("DELETE", ""), ("POST", "/test")):
                answer = await house.http.request(method, f"/api/devices/{made['id']}{path}", headers=who)
                assert answer.status_code == 404
        guessed = body(browser)
        guessed["subscription"]["keys"]["auth"] = "A" * 22
        assert (await house.http.put("/api/devices", json=guessed, headers=bob)).status_code == 409
        assert await listed(house, ann) == [made]
        assert browser.got == []


async def test_a_browser_that_somebody_else_signs_in_to_is_theirs(house: House):
    """Or it would go on showing what the first person's sessions are about."""
    with push_service() as service:
        house = telling(house, service)
        ann, bob = await house.key("ann"), await house.key("bob")
        [browser] = browsers(house, service)
        await put(house, browser, ann)
        made = await put(house, browser, bob)
        assert await listed(house, ann) == []
        assert await listed(house, bob) == [made]


async def test_a_person_has_so_many_and_no_more(house: House):
    with push_service() as service:
        house = telling(house, service)
        ann = await house.key("ann")
        first, *others = browsers(house, service, MOST + 1)
        for browser in (first, *others[:-1]):
            await put(house, browser, ann)
        answer = await house.http.put("/api/devices", json=body(others[-1]), headers=ann)
        assert (answer.status_code, "take one away" in answer.json()["detail"]) == (422, True)
        await put(house, first, ann, moments=["failed"])
        await put(house, others[-1], await house.key("bob"))


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1/push", "https://evil.example/push", "https://169.254.169.254/latest"]
)
async def test_an_address_that_is_no_push_service_is_refused(house: House, endpoint: str):
    with push_service() as service:
        house = telling(house, service)
        answer = await house.http.put("/api/devices", json=body(Browser(endpoint, "")))
    assert (answer.status_code, "NIGHTSHIFT_PUSH_SERVICES" in answer.json()["detail"]) == (422, True)
    assert await listed(house, {}) == []


@pytest.mark.parametrize("fields", [{"moments": []}, {"moments": ["always"]}, {"language": "xx"}, {"more": 1}])
async def test_what_makes_no_sense_is_refused(house: House, fields: dict[str, Any]):
    answer = await house.http.put("/api/devices", json=body(Browser("https://fcm.googleapis.com/x", ""), **fields))
    assert answer.status_code == 422


async def test_a_test_shows_what_a_notification_looks_like(house: House):
    with push_service() as service:
        house = telling(house, service)
        [browser] = browsers(house, service)
        made = await put(house, browser, {}, language="ja")
        path = f"/api/devices/{made['id']}/test"
        assert (await house.http.post(path)).status_code == 204
        assert [(each["title"], each["url"]) for each in browser.got] == [("Nightshift", "/settings")]
        assert "お知らせ" in browser.got[0]["body"]
        for status, answered, words in (
            (503, 503, "try again"),
            (403, 422, "refused"),
            (410, 404, "turn notifications on"),
        ):
            browser.status = status
            answer = await house.http.post(path)
            assert (answer.status_code, words in answer.json()["detail"]) == (answered, True)
            assert len(await listed(house, {})) == (status != 410)
