"""The worker protocol: one session, one generation, nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from nightshift.github import OneToken
from nightshift.models import (
    ControlKind,
    GitHubToken,
    ItemsPage,
    ModelEndpoint,
    NewControl,
    Phase,
    Stream,
    WorkerConfig,
)
from nightshift.pricing import price_steps
from nightshift.tokens import AUDIENCE
from tests.api.house import House


@pytest.fixture
async def session_id(house: House) -> str:
    session_id = await house.begin(repository="acme/tidytime", model="gpt-x")
    await house.start_machine(session_id)
    house.bells.rung.clear()
    return session_id


def note(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"i{number}", "kind": "assistant_message", "text": f"text {number}", "turn": 1} | more


async def test_a_worker_learns_what_to_be(house: House, session_id: str):
    answer = await house.http.get("/api/worker/session", headers=house.worker(session_id))
    config = WorkerConfig.model_validate(answer.json())
    assert (config.session_id, config.generation) == (session_id, 1)
    assert (config.model, config.repository) == ("gpt-x", "acme/tidytime")
    assert config.github_host == "https://github.com"
    assert config.heartbeat_seconds == 30


async def test_only_a_worker_is_told_the_key_of_the_model(house: House, session_id: str):
    endpoint = ModelEndpoint(base_url="https://models.example/v1", api_key="key-of-the-team")
    object.__setattr__(house.services, "settings", replace(house.services.settings, endpoint=endpoint))
    answer = await house.http.get("/api/worker/session", headers=house.worker(session_id))
    assert WorkerConfig.model_validate(answer.json()).endpoint == endpoint
    assert answer.headers["cache-control"] == "no-store"
    assert "key-of-the-team" not in repr(house.services.settings)


@pytest.mark.parametrize(("pool", "stay"), [("", True), ("https://pool.example", False)])
async def test_a_worker_is_told_whether_its_files_stay(house: House, session_id: str, pool: str, stay: bool):
    object.__setattr__(house.services, "settings", replace(house.services.settings, container_pool=pool))
    answer = await house.http.get("/api/worker/session", headers=house.worker(session_id))
    assert WorkerConfig.model_validate(answer.json()).keeps_files is stay


@pytest.mark.parametrize(("silence", "heartbeat"), [(180, 30), (12, 2), (5, 1), (2, 0.5)])
async def test_several_heartbeats_fit_into_the_silence(house: House, session_id: str, silence: float, heartbeat: float):
    settings = house.services.settings
    deadlines = replace(settings.deadlines, silence=timedelta(seconds=silence))
    object.__setattr__(house.services, "settings", replace(settings, deadlines=deadlines))
    answer = await house.http.get("/api/worker/session", headers=house.worker(session_id))
    assert answer.json()["heartbeat_seconds"] == heartbeat


async def test_items_are_appended_in_order_once_and_with_the_tokens_generation(house: House, session_id: str):
    headers = house.worker(session_id)
    body = {"items": [note(1), note(2, generation=1)]}
    answers = [await house.http.post("/api/worker/items", json=body, headers=headers) for _ in range(2)]

    assert answers[0].json() == answers[1].json() == {"items": [{"id": "i1", "seq": 2}, {"id": "i2", "seq": 3}]}
    items = (await house.services.log.items(session_id))[1:]
    assert [(item.id, item.generation) for item in items] == [("i1", 1), ("i2", 1)]
    assert house.hints.given == [(session_id, 3)] * 2
    assert house.bells.rung == []


@pytest.mark.parametrize(
    ("items", "status"),
    [
        ([note(1), note(2, kind="user_message")], 403),
        ([note(1), note(2, generation=2)], 422),
        ([], 422),
        ([note(number) for number in range(51)], 422),
        ([note(1, seq=9)], 422),
        ([note(1, text="x" * 200_001)], 422),
        ([note(1, id="a/b")], 422),
        ([note(1, kind="song")], 422),
        ("i1", 422),
    ],
)
async def test_a_refused_batch_stores_nothing(house: House, session_id: str, items: Any, status: int):
    before = house.stored()
    answer = await house.http.post("/api/worker/items", json={"items": items}, headers=house.worker(session_id))
    assert answer.status_code == status
    assert house.stored() == before


@pytest.mark.parametrize("raw", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"\\udfff": 1}', "deep"])
async def test_what_could_not_be_read_again_is_not_stored(house: House, session_id: str, raw: str):
    """One such item in the log would break every later read of the session."""
    deep = '{"a": ' + "[" * 900 + "]" * 900 + "}"
    body = '{"items": [{"kind": "reasoning", "raw": ' + (deep if raw == "deep" else raw) + "}]}"
    before, headers = house.stored(), house.worker(session_id)
    answer = await house.http.post(
        "/api/worker/items", content=body, headers=headers | {"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert house.stored() == before
    assert (await house.http.get("/api/worker/items", headers=headers)).status_code == 200


async def test_a_batch_of_long_outputs_fits(house: House, session_id: str):
    items = [note(number, text="é" * 200_000) for number in range(10)]
    answer = await house.http.post("/api/worker/items", json={"items": items}, headers=house.worker(session_id))
    assert answer.status_code == 200


async def test_the_log_is_read_with_its_controls(house: House, session_id: str):
    headers = house.worker(session_id)
    control = await house.services.log.append_control(session_id, NewControl(kind=ControlKind.INTERRUPT))
    page = ItemsPage.model_validate((await house.http.get("/api/worker/items", headers=headers)).json())
    assert [item.id for item in page.items] == ["request"]
    assert page.controls == [control]
    assert page.last_seq == 1
    answer = await house.http.get("/api/worker/items?after=1&control_after=1", headers=headers)
    assert answer.json() == {"items": [], "controls": [], "last_seq": 1}


async def test_a_page_is_not_longer_than_200(house: House, session_id: str):
    headers = house.worker(session_id)
    for start in range(0, 250, 50):
        body = {"items": [note(number) for number in range(start, start + 50)]}
        await house.http.post("/api/worker/items", json=body, headers=headers)
    first = (await house.http.get("/api/worker/items", headers=headers)).json()
    assert (len(first["items"]), first["last_seq"]) == (200, 251)
    rest = (await house.http.get("/api/worker/items?after=200", headers=headers)).json()
    assert [item["seq"] for item in rest["items"]] == list(range(201, 252))


async def test_a_long_poll_wakes_on_a_control(house: House, session_id: str):
    log, in_vain = house.services.log, asyncio.Event()
    controls = log.controls

    async def watched(*args: Any) -> Any:
        found = await controls(*args)
        in_vain.set()
        return found

    object.__setattr__(log, "controls", watched)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:  # less than it may wait: waking is what ends it
        path, headers = "/api/worker/items?after=1&wait=25", house.worker(session_id)
        reading = group.create_task(house.http.get(path, headers=headers))
        await in_vain.wait()
        await house.http.post(f"/api/sessions/{session_id}/interrupt")
    assert [control["kind"] for control in reading.result().json()["controls"]] == ["interrupt"]


def told(kind: str, **more: Any) -> dict[str, Any]:
    tokens = {"input": 10, "cached": 4, "output": 3, "reasoning": 1, "calls": 1}
    usage = [{"turn": 1, "model": "gpt-x", "tokens": tokens}]
    return {"id": f"r-{kind}", "kind": kind, "generation": 1, "turn": 1, "usage": usage} | more


async def test_a_report_is_stored_once_and_rings(house: House, session_id: str):
    headers = house.worker(session_id)
    body = told("completed", through_seq=1)
    answers = [await house.http.post("/api/worker/reports", json=body, headers=headers) for _ in range(2)]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(202, {"seq": 1})] * 2
    [report] = await house.services.log.reports(session_id)
    assert (report.kind, report.through_seq) == ("completed", 1)
    [usage] = await house.services.log.usage(session_id)
    assert (usage.tokens.input, usage.tokens.calls) == (10, 1)
    assert await house.services.log.last_beat(session_id)
    assert set(house.bells.rung) == {(session_id, "worker_report")}
    assert set(house.hints.given) == {(session_id, 1)}


async def test_progress_is_a_heartbeat_and_rings_nobody(house: House, session_id: str):
    headers = house.worker(session_id)
    answer = await house.http.post("/api/worker/reports", json=told("progress"), headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"seq": None})
    beat = await house.services.log.last_beat(session_id)
    assert beat is not None
    assert beat[0] == 1
    assert len(await house.services.log.usage(session_id)) == 1
    assert await house.services.log.last_seq(session_id, Stream.REPORT) == 0
    assert house.bells.rung == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (told("completed", generation=2), 409),
        (told("completed", through_seq=2), 422),
        (told("rumour"), 422),
        (told("completed", detail="x" * 4001), 422),
        (told("completed", usage=[{"turn": 1, "model": "m", "tokens": {"input": -1}}]), 422),
    ],
)
async def test_a_refused_report_stores_nothing(house: House, session_id: str, body: dict[str, Any], status: int):
    before = house.stored()
    answer = await house.http.post("/api/worker/reports", json=body, headers=house.worker(session_id))
    assert answer.status_code == status
    assert house.stored() == before
    assert house.bells.rung == []


async def test_a_worker_gets_the_github_token(house: House, session_id: str):
    body = {"repository": "acme/tidytime"}
    answer = await house.http.post("/api/worker/github-token", json=body, headers=house.worker(session_id))
    assert GitHubToken.model_validate(answer.json()).token == "ghp_secret"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_without_github_access_it_says_what_to_do(house: House, session_id: str):
    object.__setattr__(house.services, "github", OneToken(""))
    answer = await house.http.post("/api/worker/github-token", json={}, headers=house.worker(session_id))
    assert answer.status_code == 422
    assert "GITHUB_TOKEN" in answer.json()["detail"]


REQUESTS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "session", None),
    ("GET", "items", None),
    ("POST", "items", {"items": [note(1)]}),
    ("POST", "reports", told("completed")),
    ("POST", "github-token", {}),
]


async def refused(house: House, headers: dict[str, str], status: int) -> None:
    before, rung = house.stored(), list(house.bells.rung)
    for method, path, body in REQUESTS:
        answer = await house.http.request(method, f"/api/worker/{path}", json=body, headers=headers)
        assert answer.status_code == status, (path, answer.text)
        assert "ghp_secret" not in answer.text
    assert house.stored() == before
    assert house.bells.rung == rung


async def test_an_older_generation_is_stale_everywhere(house: House, session_id: str):
    await house.start_machine(session_id, generation=2)
    await refused(house, house.worker(session_id, 1), 409)


async def test_a_generation_that_was_never_started_is_stale(house: House, session_id: str):
    await refused(house, house.worker(session_id, 7), 409)


async def test_an_expired_token_opens_nothing(house: House, session_id: str):
    await refused(house, house.worker(session_id, lifetime=timedelta(seconds=-1)), 401)


async def test_a_deleted_session_is_gone_for_its_worker(house: House, session_id: str):
    headers = house.worker(session_id)
    await house.services.log.purge(session_id)
    await refused(house, headers, 404)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eDp5"}])
async def test_no_token_opens_nothing_even_on_this_machine(house: House, session_id: str, headers: dict[str, str]):
    await refused(house, headers, 401)


@pytest.mark.parametrize("forgery", ["another key", "alg none", "another audience", "no expiry"])
async def test_a_forged_token_opens_nothing(house: House, session_id: str, forgery: str):
    claims: dict[str, Any] = {
        "aud": AUDIENCE,
        "sub": session_id,
        "gen": 1,
        "exp": datetime.now(UTC) + timedelta(hours=1),
    }
    key, algorithm = house.services.settings.signing_key, "HS256"
    match forgery:
        case "another key":
            key = "z" * 64
        case "alg none":
            key, algorithm = "", "none"
        case "another audience":
            claims["aud"] = "somebody-else"
        case _:
            del claims["exp"]
    await refused(house, {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm=algorithm)}"}, 401)


async def test_an_api_key_is_no_worker_token_and_the_other_way_round(cloud: House):
    key = await cloud.key("ann")
    begun = await cloud.http.post("/api/sessions", json={"message": "hi"}, headers=key)
    session_id = begun.json()["id"]
    await cloud.start_machine(session_id)
    await refused(cloud, key, 401)
    worker = cloud.worker(session_id)
    assert (await cloud.http.get(f"/api/sessions/{session_id}", headers=worker)).status_code == 401


async def test_a_token_writes_into_its_own_session_only(house: House, session_id: str):
    other = await house.begin("something else")
    await house.start_machine(other)
    await house.http.post("/api/worker/items", json={"items": [note(1)]}, headers=house.worker(other))
    assert [item.id for item in await house.services.log.items(session_id)] == ["request"]
    assert [item.id for item in await house.services.log.items(other)] == ["request", "i1"]


async def test_a_worker_still_reads_while_its_session_is_stopping(house: House, session_id: str):
    await house.services.log.project(session_id, 9, {"phase": Phase.STOPPING})
    answer = await house.http.get("/api/worker/items", headers=house.worker(session_id))
    assert answer.status_code == 200


def draft(**more: Any) -> dict[str, Any]:
    return {"turn": 1, "id": "1.r.0", "kind": "text", "text": "so far "} | more


async def test_drafts_go_to_the_live_channel_and_nowhere_else(house: House, session_id: str):
    before = house.stored()
    answer = await house.http.post("/api/worker/drafts", headers=house.worker(session_id), json=draft(offset=5))
    assert (answer.status_code, answer.content) == (204, b"")
    ((heard_by, heard),) = house.hints.drafts
    assert (heard_by, heard.text, heard.offset) == (session_id, "so far ", 5)
    assert house.stored() == before


async def test_drafts_are_fenced_and_small(house: House, session_id: str):
    for wrong in (draft(text="x" * 4001), draft(kind="secret"), draft(more=1), draft(id="a b")):
        answer = await house.http.post("/api/worker/drafts", headers=house.worker(session_id), json=wrong)
        assert answer.status_code == 422
    stale = await house.http.post("/api/worker/drafts", headers=house.worker(session_id, 2), json=draft())
    assert stale.status_code == 409
    assert (await house.http.post("/api/worker/drafts", json=draft())).status_code == 401
    assert house.hints.drafts == []


async def test_a_worker_learns_where_prices_change_with_length(house: House, session_id: str):
    answer = await house.http.get("/api/worker/session", headers=house.worker(session_id))
    assert WorkerConfig.model_validate(answer.json()).price_steps == price_steps(house.services.prices)


async def test_usage_is_kept_apart_by_price_step(house: House, session_id: str):
    def usage(above: int, calls: int) -> dict[str, Any]:
        tokens = {"input": 300_000 * calls if above else 10, "output": 1, "calls": calls}
        return {"turn": 1, "model": "gpt-5.4", "above": above, "tokens": tokens}

    report = {"kind": "progress", "generation": 1, "turn": 1}
    for entries in ([usage(0, 1)], [usage(0, 1), usage(272_000, 1)], [usage(0, 1), usage(272_000, 2)], [usage(0, 1)]):
        body = report | {"usage": entries}
        answer = await house.http.post("/api/worker/reports", headers=house.worker(session_id), json=body)
        assert answer.status_code == 202
    kept = {entry.above: entry.tokens for entry in await house.services.log.usage(session_id)}
    assert {above: tokens.calls for above, tokens in kept.items()} == {0: 1, 272_000: 2}
