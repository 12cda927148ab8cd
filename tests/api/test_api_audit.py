"""Who did what: every change that people make leaves an entry, a repeat leaves no second, and only admins read them."""

from __future__ import annotations

from nightshift.keys import Scope
from tests.api.house import House


async def entries(house: House, **query: str | int) -> list[dict[str, str]]:
    return (await house.http.get("/api/audit", params=query)).json()["entries"]


async def test_what_is_done_is_noted_with_who_and_how(house: House):
    ann = await house.key("ann", Scope.READ, Scope.WRITE)
    begun = await house.http.post("/api/sessions", json={"message": "hi", "repository": "octo/demo"}, headers=ann)
    id = begun.json()["id"]
    await house.http.post(f"/api/sessions/{id}/stop", headers=ann)
    await house.http.post(f"/api/sessions/{id}/messages", json={"text": "Yes", "approves": "call-7"}, headers=ann)
    key = (await house.http.post("/api/keys", json={"days": 3})).json()["key"]["id"]
    await house.http.delete(f"/api/keys/{key}")
    await house.http.delete(f"/api/sessions/{id}")

    noted = [(each["actor"], each["via"], each["action"], each["target"]) for each in await entries(house)]
    assert noted == [
        ("local", "local", "session.delete", id),
        ("local", "local", "key.revoke", key),
        ("local", "local", "key.make", key),
        ("ann", "key", "action.approve", id),
        ("ann", "key", "session.stop", id),
        ("ann", "key", "session.begin", id),
    ]
    assert [each["detail"] for each in await entries(house)][-1] == "octo/demo"


async def test_a_request_that_is_sent_again_is_one_entry(house: House):
    id = await house.begin()
    before = len(await entries(house))
    for _ in range(2):
        await house.http.post(f"/api/sessions/{id}/stop", headers={"Idempotency-Key": "press"})
    assert len(await entries(house)) == before + 1


async def test_what_is_refused_for_want_of_rights_is_not_noted(house: House):
    id = await house.begin()
    before = await entries(house)
    stranger = await house.key("eve", Scope.READ, Scope.WRITE)
    reader = await house.key("local", Scope.READ)
    assert (await house.http.post(f"/api/sessions/{id}/stop", headers=stranger)).status_code == 404
    assert (await house.http.post(f"/api/sessions/{id}/stop", headers=reader)).status_code == 403
    assert await entries(house) == before


async def test_entries_come_in_pages_and_hold_no_secret(house: House):
    for _ in range(3):
        made = await house.http.post("/api/keys", json={})
        assert made.json()["text"] not in (await house.http.get("/api/audit")).text
    first = (await house.http.get("/api/audit", params={"limit": 2})).json()
    rest = (await house.http.get("/api/audit", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert (len(first["entries"]), len(rest["entries"]), rest["next_cursor"]) == (2, 1, None)


async def test_what_cannot_be_noted_is_not_done(house: House):
    """A log that has holes when the store is busy would be none."""
    store = house.services.store
    create = store.create

    async def fail(partition: str, id: str, body: dict[str, object]):
        if partition.startswith("audit-"):
            raise ConnectionError("the store is away")
        return await create(partition, id, body)

    id = await house.begin()
    store.create = fail  # type: ignore[method-assign]
    assert (await house.http.post(f"/api/sessions/{id}/stop")).status_code == 500
    assert await house.services.log.controls(id) == []
