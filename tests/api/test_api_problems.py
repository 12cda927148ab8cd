"""Bad requests and bad days: the right status, words that help, nothing stored, nothing leaked."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.app import create_api
from nightshift.errors import Retryable
from nightshift.services import Services
from tests.api.house import House, client

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "message"),
        ({"message": ""}, "message"),
        ({"message": " \n\t\u2003"}, "message"),
        ({"message": "x" * 200_001}, "message"),
        ({"message": 5}, "message"),
        ({"message": None}, "message"),
        ({"message": "hi", "repository": "not a repository"}, "repository"),
        ({"message": "hi", "repositroy": "acme/x"}, "repositroy"),
        ({"message": "hi", "title": "x" * 121}, "title"),
        (["hi"], "body"),
        ("hi", "body"),
    ],
)
async def test_a_bad_session_request_names_the_field_and_stores_nothing(house: House, body: Any, field: str):
    answer = await house.http.post("/api/sessions", json=body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert [error["field"] for error in problem["errors"]] == [field]
    assert problem["errors"][0]["message"]
    assert field in problem["detail"]
    assert len(answer.text) < 1000, "what was sent is not sent back"
    assert house.stored() == []
    assert house.bells.started == []


@pytest.mark.parametrize("text", ["", "   ", "x" * 200_001, 7, None])
async def test_a_bad_message_is_refused(house: House, text: Any):
    session_id = await house.begin()
    before = house.stored()
    answer = await house.http.post(f"/api/sessions/{session_id}/messages", json={"text": text})
    assert answer.status_code == 422
    assert house.stored() == before


@pytest.mark.parametrize("key", [b"", b"x" * 129, b"tab\there", b"\xfcmlaut"])
async def test_a_bad_idempotency_key_is_refused(house: House, key: bytes):
    answer = await house.http.post("/api/sessions", json={"message": "hi"}, headers={b"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert house.stored() == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"message": ', JSON, 422),
        (b"", JSON, 422),
        (b'{"message": "\xff"}', JSON, 400),
        (b"[" * 200_000, JSON, 400),
        (b'{"message": ' + b"9" * 5000 + b"}", JSON, 400),
        (b'{"message": "\\ud800"}', JSON, 422),
        (b'{"message": "hi", "\\ud800": 1}', JSON, 422),
        (b'{"message": "hi"}', {"Content-Type": "text/plain"}, 415),
        (b"message=hi", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"message": "hi"}', {}, 415),
    ],
)
async def test_what_is_no_json_is_refused(house: House, content: bytes, headers: dict[str, str], status: int):
    answer = await house.http.post("/api/sessions", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert house.stored() == []


async def test_a_body_over_a_mebibyte_is_refused_by_its_declared_size(house: House):
    path = f"/api/sessions/{await house.begin()}/stop"
    before = house.stored()
    answer = await house.http.post(path, content=b" " * (1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["status"] == 413
    assert house.stored() == before


async def test_a_body_over_a_mebibyte_is_refused_by_its_actual_size(house: House):
    sent = 0

    async def drip() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 65536
            yield b" " * 65536

    answer = await house.http.post("/api/sessions", content=drip(), headers=JSON)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert sent < 2 * 1024 * 1024, "it stopped reading"
    assert house.stored() == []


async def test_the_longest_message_fits(house: House):
    body = json.dumps({"message": "ü" * 200_000}, ensure_ascii=False).encode()
    assert (await house.http.post("/api/sessions", content=body, headers=JSON)).status_code == 202


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/nowhere", 404), ("PUT", "/api/sessions", 405)])
async def test_the_routers_own_errors_are_problems(house: House, method: str, path: str, status: int):
    answer = await house.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (
        answer.json()["type"] == {404: "urn:nightshift:nothing-there", 405: "urn:nightshift:method-not-allowed"}[status]
    )
    assert path in answer.json()["detail"]
    if status == 405:
        assert answer.headers["Allow"]


async def test_errors_on_purpose_have_a_type_for_programs(house: House):
    answer = await house.http.get("/api/sessions/s-1")
    assert answer.json() == {
        "type": "urn:nightshift:no-session",
        "title": "Not found",
        "status": 404,
        "detail": "There is no session 's-1'",
    }


async def test_the_unforeseen_is_logged_in_full_and_told_by_trace_id(house: House, caplog: pytest.LogCaptureFixture):
    def broken() -> Services:
        raise RuntimeError("password is hunter2")

    async with client(create_api(broken), house.bells) as http:
        with caplog.at_level(logging.ERROR):
            answer = await http.get("/api/sessions")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "hunter2" not in answer.text
    [record] = caplog.records
    assert answer.json()["trace_id"] in record.getMessage()
    assert "hunter2" in str(record.exc_info)


@pytest.mark.parametrize(("asked", "told"), [(7.2, "8"), (None, "5")])
async def test_a_passing_fault_says_when_to_try_again(house: House, asked: float | None, told: str):
    def away() -> Services:
        raise Retryable("10.0.0.5 refused the connection", asked)

    async with client(create_api(away), house.bells) as http:
        answer = await http.get("/api/sessions")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == told
    assert "10.0.0.5" not in answer.text


async def test_answers_are_neither_cached_nor_guessed(house: House):
    for path in ("/api/health", "/api/sessions", "/api/nowhere"):
        headers = (await house.http.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


async def test_a_program_is_told_in_english_and_a_browser_in_its_language(house: House):
    path = "/api/sessions/s-1"
    plain = await house.http.get(path)
    assert plain.json()["detail"] == "There is no session 's-1'"
    assert "Content-Language" not in plain.headers
    japanese = await house.http.get(path, headers={"Accept-Language": "ja,en;q=0.5"})
    assert japanese.json()["detail"].startswith("セッション s-1 はありません")
    assert japanese.headers["Content-Language"] == "ja"
    assert japanese.json()["type"] == plain.json()["type"]
    chosen = await house.http.get(path, headers={"Accept-Language": "ja", "Cookie": "nightshift_language=en"})
    assert "somebody else's" in chosen.json()["detail"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "作業が必要です。"),
        ({"message": " "}, "作業が空です。"),
        ({"message": "hi", "budget_usd": 0}, "予算は 0"),
        ({"message": "hi", "repository": "no"}, "の書き方が正しくありません。"),
        ({"message": "hi", "repositroy": "a/b"}, "repositroyという項目はありません。"),
        ({"message": "hi", "effort": "huge"}, "推論の深さは次のいずれかです"),
    ],
)
async def test_a_form_is_told_its_faults_in_the_language_of_the_page(house: House, body: Any, told: str):
    answer = await house.http.post("/api/sessions", json=body, headers={"Accept-Language": "ja"})
    assert answer.status_code == 422
    assert told in answer.json()["detail"]


async def test_what_is_too_large_and_what_is_unforeseen_are_told_in_the_language_too(house: House):
    japanese = {"Accept-Language": "ja", "Content-Type": "application/octet-stream"}
    path = f"/api/sessions/{await house.begin()}/files?filename=big"
    answer = await house.http.put(path, content=b"", headers=japanese | {"Content-Length": str(26 << 20)})
    assert answer.status_code == 413
    assert "25 MB まで" in answer.json()["detail"]

    def broken() -> Services:
        raise RuntimeError

    async with client(create_api(broken), house.bells) as http:
        answer = await http.get("/api/sessions", headers=japanese)
    assert answer.status_code == 500
    assert answer.json()["trace_id"] in answer.json()["detail"]
    assert "Nightshift 側" in answer.json()["detail"]
