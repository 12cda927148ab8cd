"""What each person keeps: theirs alone, replaced as a whole, and told to their agents."""

from __future__ import annotations

import asyncio

import pytest

from nightshift.keys import Scope
from nightshift.people import MOST_READ, note_read, read_places
from tests.api.house import House

WANTED = {
    "model": "gpt-5.2",
    "effort": "high",
    "prompt": "Small pull requests, please.",
    "templates": [
        {
            **{"name": "Notes", "message": "Write the notes", "repository": "a/b"},
            **{"agent": None, "model": None, "effort": None},
        }
    ],
}


async def test_preferences_are_kept_for_each_person(house: House):
    assert (await house.http.get("/api/preferences")).json()["templates"] == []
    assert (await house.http.put("/api/preferences", json=WANTED)).json() == WANTED
    assert (await house.http.get("/api/preferences")).json() == WANTED
    other = await house.key("ann", Scope.READ)
    assert (await house.http.get("/api/preferences", headers=other)).json()["prompt"] == ""
    assert (await house.http.put("/api/preferences", json=WANTED, headers=other)).status_code == 403


@pytest.mark.parametrize(
    "wrong", [{"effort": "extreme"}, {"prompt": "x" * 20_001}, {"templates": [{"name": "", "message": "m"}]}, {"x": 1}]
)
async def test_wrong_preferences_change_nothing(house: House, wrong: dict[str, object]):
    assert (await house.http.put("/api/preferences", json=wrong)).status_code == 422
    assert house.stored() == []


async def test_an_agent_is_told_what_its_owner_wants_every_agent_to_know(house: House):
    id = await house.begin()
    await house.start_machine(id)
    await house.http.put("/api/preferences", json=WANTED)
    stranger = await house.key("eve", Scope.READ, Scope.WRITE)
    await house.http.put("/api/preferences", json={"prompt": "Eve's own"}, headers=stranger)

    async def told() -> str:
        return (await house.http.get("/api/worker/session", headers=house.worker(id))).json()["common_prompt"]

    assert await told() == "Small pull requests, please."
    object.__setattr__(house.services.settings, "common_prompt", "The team's")
    assert await told() == "The team's\n\nSmall pull requests, please."


async def test_a_place_only_grows_and_two_tabs_lose_none(house: House):
    ids = [await house.begin() for _ in range(3)]
    store = house.services.store
    await asyncio.gather(*(house.http.put(f"/api/sessions/{id}/read", json={"seq": 7}) for id in ids))
    await house.http.put(f"/api/sessions/{ids[0]}/read", json={"seq": 3})
    assert await read_places(store, "local") == dict.fromkeys(ids, 7)
    stranger = await house.key("eve", Scope.READ)
    answer = await house.http.put(f"/api/sessions/{ids[0]}/read", json={"seq": 3}, headers=stranger)
    assert answer.status_code == 404


async def test_places_are_bounded_the_ones_looked_at_longest_ago_go_first(house: House):
    store = house.services.store
    places = {f"s-{number}": 1 for number in range(MOST_READ)}
    await store.create("person:local", "read", {"places": places})
    await note_read(store, "local", "s-0", 2)
    await note_read(store, "local", "new", 1)
    kept = await read_places(store, "local")
    assert len(kept) == MOST_READ
    assert "s-1" not in kept
    assert kept["s-0"] == 2
