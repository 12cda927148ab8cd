"""A script that ran wild is held back, alone, and told for how long. The clock is the test's: nobody waits here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from api.app import create_api
from api.rates import FAILURES, READS, SESSIONS, WRITES, Rate, Rates
from nightshift.errors import TooManyRequests
from tests.api.house import House, client

WRONG = {"X-API-Key": "ns_" + "0" * 16 + "_" + "x" * 43}
RATE = Rate("tests", 3, 0.5)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def limited(house: House, clock: Clock) -> AsyncIterator[House]:
    """The house in the cloud, where everybody has a key and time stands still."""
    settings = replace(house.services.settings, local=False)
    services = replace(house.services, settings=settings)
    app = create_api(lambda: services, Rates(clock))
    async with client(app, house.bells, "https://nightshift.example") as http:
        yield replace(house, services=services, app=app, http=http)


async def begin(house: House, headers: dict[str, str]) -> int:
    return (await house.http.post("/api/sessions", json={"message": "hi"}, headers=headers)).status_code


async def test_a_burst_of_new_sessions_ends_in_a_problem_that_says_when_to_go_on(limited: House, clock: Clock):
    ann, bob = await limited.key("ann"), await limited.key("bob")
    assert {await begin(limited, ann) for _ in range(SESSIONS.burst)} == {202}
    before = limited.stored()
    refused = await limited.http.post("/api/sessions", json={"message": "hi"}, headers=ann)
    assert refused.status_code == 429
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Retry-After"] == "5"
    assert refused.json()["type"] == "urn:nightshift:too-many-requests"
    assert "5 s" in refused.json()["detail"]
    assert limited.stored() == before
    assert (await limited.http.get("/api/sessions", headers=ann)).status_code == 200, "looking is another matter"
    assert await begin(limited, bob) == 202, "nobody shares"
    assert await begin(limited, await limited.key("ann")) == 202, "a program does not use up its owner's"
    clock.now += 5
    assert [await begin(limited, ann) for _ in range(2)] == [202, 429]


async def test_changes_and_looks_are_counted_apart(limited: House, clock: Clock):
    ann = await limited.key("ann")
    rates = limited.app.state.rates  # type: ignore[attr-defined]
    key_id = ann["Authorization"].split("_")[1]
    rates.take(WRITES, key_id, WRITES.burst - 1)
    assert await begin(limited, ann) == 202
    session = (await limited.http.get("/api/sessions", headers=ann)).json()["sessions"][0]["id"]
    message = f"/api/sessions/{session}/messages"
    assert (await limited.http.post(message, json={"text": "hi"}, headers=ann)).status_code == 429
    upload = f"/api/sessions/{session}/files?filename=a.txt"
    assert (await limited.http.put(upload, content=b"a", headers=ann)).status_code == 429
    rates.take(READS, key_id, READS.burst - 2)
    assert [(await limited.http.get("/api/sessions", headers=ann)).status_code for _ in range(2)] == [200, 429]


async def test_a_worker_is_never_held_back(limited: House):
    ann = await limited.key("ann")
    id = (await limited.http.post("/api/sessions", json={"message": "hi"}, headers=ann)).json()["id"]
    await limited.start_machine(id)
    headers = limited.worker(id)
    for _ in range(FAILURES.burst + 1):
        await limited.http.get("/api/sessions", headers=WRONG)
    answers = [await limited.http.get("/api/worker/items", headers=headers) for _ in range(SESSIONS.burst + 1)]
    assert {answer.status_code for answer in answers} == {200}


async def test_an_address_with_too_many_wrong_keys_is_not_looked_at_for_a_while(limited: House, clock: Clock):
    ann = await limited.key("ann")
    here, there = {"X-Forwarded-For": "6.6.6.6, 192.0.2.1:4711"}, {"X-Forwarded-For": "192.0.2.1, 192.0.2.2:4711"}
    for _ in range(FAILURES.burst):
        assert (await limited.http.get("/api/sessions", headers=WRONG | here)).status_code == 401
    for headers in (WRONG, ann):
        assert (await limited.http.get("/api/sessions", headers=headers | here)).status_code == 429
    assert (await limited.http.get("/api/sessions", headers=ann | there)).status_code == 200
    assert (await limited.http.get("/api/health", headers=here)).status_code == 200
    clock.now += 1 / FAILURES.per_second
    assert (await limited.http.get("/api/sessions", headers=ann | here)).status_code == 200


def test_a_bucket_fills_up_again_and_never_more_than_that(clock: Clock):
    rates = Rates(clock)
    for _ in range(2):
        for _ in range(RATE.burst):
            rates.take(RATE, "ann")
        with pytest.raises(TooManyRequests) as refused:
            rates.take(RATE, "ann")
        assert refused.value.retry_after == 2
        clock.now += 1000


def test_whoever_waits_as_told_gets_exactly_the_rate(clock: Clock):
    rates, taken, begun = Rates(clock), 0, clock.now
    while clock.now <= begun + 100:
        try:
            rates.take(RATE, "ann")
            taken += 1
        except TooManyRequests as refused:
            clock.now += refused.retry_after
    assert taken == RATE.burst + 100 * RATE.per_second


def test_memory_is_bounded_by_forgetting_who_was_away_longest(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("api.rates._MOST", 2)
    rates = Rates(clock)
    for who in ("ann", "ann", "ann", "bob", "carol"):
        rates.take(RATE, who)
    rates.take(RATE, "ann")  # was forgotten, and so begins anew


async def test_a_page_says_it_in_words_with_the_time(limited: House):
    ann = await limited.key("ann")
    limited.app.state.rates.take(READS, ann["Authorization"].split("_")[1], READS.burst)  # type: ignore[attr-defined]
    page = await limited.http.get("/", headers=ann | {"Accept": "text/html", "Accept-Language": "ja"})
    assert page.status_code == 429
    assert page.headers["Retry-After"] == "1"
    assert page.headers["Content-Type"].startswith("text/html")
    assert "短時間のリクエストが多すぎます。1 秒後に" in page.text
