"""Notifications as push services and browsers see them: encrypted, signed, and sent nowhere else."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from nightshift.errors import Permanent, Retryable
from nightshift.settings import Settings
from nightshift.webpush import Gone, Keys, Message, Subscription, WebPush, encrypt
from tests.pushservice import Browser, decode, decrypt, encode, point, push_service

MESSAGE = Message(title="月曜日のタスク", body="Done", url="/sessions/s-1", tag="s-1")
SETTINGS = Settings(signing_key="k" * 64)

# RFC 8291, section 5 and appendix A.
RFC_TEXT = b"When I grow up, I want to be a watermelon"
RFC_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RFC_AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
RFC_BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_tests_decryption_is_that_of_the_rfc() -> None:
    private = ec.derive_private_key(int.from_bytes(decode(RFC_PRIVATE)), ec.SECP256R1())
    assert decrypt(decode(RFC_BODY), private, decode(RFC_AUTH)) == RFC_TEXT


def test_what_is_encrypted_only_its_browser_reads() -> None:
    browser = Browser("https://fcm.googleapis.com/x", "")
    body = encrypt(RFC_TEXT, browser.subscription.keys)
    assert RFC_TEXT not in body
    assert decrypt(body, browser.private, browser.auth) == RFC_TEXT
    assert encrypt(RFC_TEXT, browser.subscription.keys) != body


async def test_a_message_reaches_its_browser_and_says_who_sent_it() -> None:
    with push_service() as service:
        push = WebPush.of(replace(SETTINGS, push_services=(service.origin,)))
        browser = service.subscribe(push.public_key)
        async with httpx.AsyncClient() as http:
            await push.send(http, browser.subscription, MESSAGE)
            await push.send(http, browser.subscription, MESSAGE.model_copy(update={"urgency": "high"}))
    assert browser.got == [MESSAGE.model_dump(exclude={"urgency"})] * 2
    assert [headers["Urgency"] for headers in browser.headers] == ["normal", "high"]
    assert len({headers["Topic"] for headers in browser.headers}) == 1


def test_the_key_pair_follows_from_the_signing_key_alone() -> None:
    one, same, other = (WebPush.of(Settings(signing_key=key)) for key in ("k" * 64, "k" * 64, "l" * 64))
    assert one.public_key == same.public_key != other.public_key
    assert len(decode(one.public_key)) == 65


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, Gone), (410, Gone), (429, Retryable), (500, Retryable), (503, Retryable), (400, Permanent),
     (403, Permanent), (413, Permanent), (301, Permanent)],
)  # fmt: skip
async def test_what_a_push_service_says(status: int, error: type[Exception]) -> None:
    with push_service() as service:
        push = WebPush.of(replace(SETTINGS, push_services=(service.origin,)))
        browser = service.subscribe(push.public_key)
        browser.status = status
        async with httpx.AsyncClient() as http:
            with pytest.raises(error) as raised:
                await push.send(http, browser.subscription, MESSAGE)
    assert type(raised.value) is error


async def test_a_push_service_that_is_away_is_a_passing_fault() -> None:
    with push_service() as service:
        push = WebPush.of(replace(SETTINGS, push_services=(service.origin,)))
        browser = service.subscribe(push.public_key)
    async with httpx.AsyncClient() as http:
        with pytest.raises(Retryable, match="did not answer"):
            await push.send(http, browser.subscription, MESSAGE)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://fcm.googleapis.com/fcm/send/abc:def",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAA",
        "https://wns2-par02p.notify.windows.com/w/?token=BQ",
        "https://web.push.apple.com/QGuQyavXutnMH",
        "https://push.example.org:8443/x",
    ],
)
def test_the_services_that_are_known(endpoint: str) -> None:
    settings = Settings.read(
        {"NIGHTSHIFT_SIGNING_KEY": "k" * 64, "NIGHTSHIFT_PUSH_SERVICES": "https://push.example.org:8443"}
    )
    assert WebPush.of(settings).knows(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evil.example/fcm.googleapis.com",
        "https://fcm.googleapis.com@evil.example/",
        "https://someone:word@fcm.googleapis.com/",
        "https://evil.example#.notify.windows.com",
        "https://evil.example\\.notify.windows.com/",
        "https://evil.example%2f.notify.windows.com/",
        "https://evilnotify.windows.com/",
        "https://127.0.0.1/x",
        "https://169.254.169.254/metadata",
        "https://[::1]/x",
        "https://localhost/x",
        "file:///etc/passwd",
        "//fcm.googleapis.com/x",
        "https://",
        "",
        "https://[",
    ],
)
async def test_nothing_else_is_ever_called(endpoint: str) -> None:
    push = WebPush.of(SETTINGS)
    assert not push.knows(endpoint)
    subscription = Subscription(endpoint=endpoint, keys=Browser("", "").subscription.keys)

    def called(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    async with httpx.AsyncClient(transport=httpx.MockTransport(called)) as http:
        with pytest.raises(Permanent, match="none that this deployment knows"):
            await push.send(http, subscription, MESSAGE)


@pytest.mark.parametrize(
    "origin", ["http://push.example.org", "https://push.example.org/x", "push.example.org", "https://*"]
)
def test_an_origin_to_add_must_be_one(origin: str) -> None:
    with pytest.raises(Permanent, match="NIGHTSHIFT_PUSH_SERVICES"):
        Settings.read({"NIGHTSHIFT_SIGNING_KEY": "k" * 64, "NIGHTSHIFT_PUSH_SERVICES": origin})


GOOD = encode(point(ec.derive_private_key(1, ec.SECP256R1())))


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [(GOOD[:-4], RFC_AUTH), (encode(b"\4" + b"x" * 64), RFC_AUTH), ("", RFC_AUTH), ("!" + GOOD, RFC_AUTH),
     (GOOD, RFC_AUTH[:-4]), (GOOD, RFC_AUTH + "AAAA"), (GOOD, ""), (GOOD, "not base64!")],
)  # fmt: skip
def test_keys_that_nothing_can_be_encrypted_for_are_refused(p256dh: str, auth: str) -> None:
    with pytest.raises(ValidationError):
        Keys(p256dh=p256dh, auth=auth)


def test_the_contact_is_an_address_that_push_services_take() -> None:
    assert WebPush.of(Settings(signing_key="k" * 64)).contact == ""
    assert WebPush.of(Settings(signing_key="k" * 64, public_url="https://n.example")).contact == "https://n.example"
