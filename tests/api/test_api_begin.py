"""Beginning a session: once, whatever happens in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest

from activities.janitor import tidy
from api.begin import ensure_begun
from api.doorbell import DurableDoorbell
from nightshift.log import utc_now
from nightshift.models import ItemKind, Phase, Session, SessionRequest
from tests.api.house import House, client

REQUEST = {"message": "Fix the bug\nplease", "repository": "acme/tidytime", "model": "gpt-x", "title": "Bug"}


async def test_a_session_is_stored_spoken_and_started(house: House):
    answer = await house.http.post("/api/sessions", json=REQUEST)

    assert answer.status_code == 202
    body = answer.json()
    session_id = body["id"]
    assert len(session_id) == 22
    assert session_id.startswith("s-")
    assert body["phase"] == "starting"
    assert answer.headers["Location"] == body["links"]["self"] == f"/api/sessions/{session_id}"
    assert set(body["links"]) >= {"self", "items", "messages", "interrupt", "stop", "resume", "delete", "page"}
    assert body["durable"]["statusQueryGetUri"].startswith("http://hub/")
    [item] = await house.services.log.items(session_id)
    assert (item.id, item.seq, item.kind, item.text) == ("request", 1, ItemKind.USER_MESSAGE, REQUEST["message"])
    assert item.author == "local"
    assert house.bells.started == [session_id]


async def test_without_a_key_every_request_is_a_session_of_its_own(house: House):
    assert await house.begin() != await house.begin()


async def test_the_same_key_is_the_same_session(house: House):
    headers = {"Idempotency-Key": "issue 17"}
    first = await house.http.post("/api/sessions", json=REQUEST, headers=headers)
    before = house.stored()
    second = await house.http.post("/api/sessions", json=REQUEST, headers=headers)

    assert first.json() == second.json()
    assert house.stored() == before


async def test_the_same_key_for_something_else_is_a_conflict(house: House):
    headers = {"Idempotency-Key": "issue 17"}
    await house.http.post("/api/sessions", json=REQUEST, headers=headers)
    before = house.stored()
    answer = await house.http.post("/api/sessions", json=REQUEST | {"message": "Else"}, headers=headers)

    assert answer.status_code == 409
    assert "Idempotency-Key" in answer.json()["detail"]
    assert house.stored() == before


async def test_the_same_key_of_two_people_is_two_sessions(house: House):
    ids = set[str]()
    for owner in ("ann", "bob"):
        headers = await house.key(owner) | {"Idempotency-Key": "1"}
        ids.add((await house.http.post("/api/sessions", json=REQUEST, headers=headers)).json()["id"])
    assert len(ids) == 2


async def test_equal_requests_at_once_make_one_session_with_one_item(house: House):
    async def post() -> str:
        headers = {"Idempotency-Key": "at once"}
        answer = await house.http.post("/api/sessions", json=REQUEST, headers=headers)
        assert answer.status_code == 202
        return answer.json()["id"]

    [session_id] = set(await asyncio.gather(*(post() for _ in range(20))))
    assert [item.seq for item in await house.services.log.items(session_id)] == [1]
    assert len(house.stored()) == 2


@pytest.mark.parametrize("crash_after", ["the document", "the item"])
async def test_a_request_repeated_after_a_crash_completes_the_session(house: House, crash_after: str):
    probe = await house.http.post("/api/sessions", json=REQUEST, headers={"Idempotency-Key": "crash"})
    session_id = probe.json()["id"]
    await house.services.log.purge(session_id)
    house.bells.started.clear()
    now = utc_now()
    session = Session(
        id=session_id,
        owner="local",
        request=SessionRequest.model_validate(REQUEST),
        created_at=now,
        updated_at=now,
    )
    await house.services.log.create_session(session)
    if crash_after == "the item":
        await ensure_begun(house.services, DurableDoorbell(HubIsAway()), session)  # type: ignore[arg-type]

    answer = await house.http.post("/api/sessions", json=REQUEST, headers={"Idempotency-Key": "crash"})

    assert answer.json()["id"] == session_id
    assert [item.id for item in await house.services.log.items(session_id)] == ["request"]
    assert house.bells.started == [session_id]


async def test_a_message_to_a_session_that_never_began_begins_it_first(house: House):
    session_id = await house.begin()
    session = await house.services.log.session(session_id)
    await house.services.log.purge(session_id)
    await house.services.log.create_session(session)
    await house.http.post(f"/api/sessions/{session_id}/messages", json={"text": "and hurry"})

    texts = [item.text for item in await house.services.log.items(session_id)]
    assert texts == ["Fix the bug", "and hurry"]


async def test_a_session_that_runs_is_not_begun_again(house: House):
    session_id = await house.begin()
    await house.start_machine(session_id)
    house.bells.started.clear()
    await ensure_begun(house.services, house.bells, await house.services.log.session(session_id))
    assert house.bells.started == []


@pytest.mark.parametrize("phase", [Phase.WORKING, Phase.WAITING])
async def test_a_session_with_a_machine_is_given_its_orchestration_again(house: House, phase: Phase):
    """The task hub was lost: nobody else would put the machine to rest."""
    session_id = await house.begin()
    await house.services.log.project(session_id, 1, {"phase": phase, "answered_seq": 1})
    house.bells.started.clear()
    house.bells.rung.clear()
    findings = await tidy(house.services, house.bells, utc_now() + timedelta(minutes=5))
    assert (house.bells.started, house.bells.rung) == ([session_id], [])
    assert (findings.woken, findings.faults) == (0, 0)


async def test_what_is_stored_is_accepted_though_the_task_hub_is_away(house: House):
    async with client(house.app, DurableDoorbell(HubIsAway())) as http:  # type: ignore[arg-type]
        begun = await http.post("/api/sessions", json=REQUEST)
        assert begun.status_code == 202
        session_id = begun.json()["id"]
        said = await http.post(f"/api/sessions/{session_id}/messages", json={"text": "hello?"})
        assert said.status_code == 202
        stopped = await http.post(f"/api/sessions/{session_id}/stop")
        assert stopped.status_code == 202
    assert [item.seq for item in await house.services.log.items(session_id)] == [1, 2]


class HubIsAway:
    """A durable client whose hub does not answer."""

    async def get_orchestration_state(self, *_: Any, **__: Any) -> None:
        raise grpc.RpcError

    async def raise_orchestration_event(self, *_: Any, **__: Any) -> None:
        raise grpc.RpcError

    def create_http_management_payload(self, *_: Any) -> dict[str, str]:
        return {}
