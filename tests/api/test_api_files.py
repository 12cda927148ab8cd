"""Files of a session: up, down, named in messages, before a session begins, and gone with it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.janitor import tidy
from nightshift.models import MAX_FILE, ControlKind, FileRef, Phase
from tests.api.house import House

PIXEL = b"\x89PNG\r\n\x1a\n not much of a picture"
TEXT = b"error: line 7\n"


def named(content: bytes, filename: str = "a.txt", content_type: str = "text/plain") -> dict[str, Any]:
    name = hashlib.sha256(content).hexdigest()
    return {"name": name, "filename": filename, "content_type": content_type, "size": len(content)}


async def upload(house: House, session_id: str, content: bytes, filename: str = "a.txt", kind: str = "text/plain"):
    url = f"/api/sessions/{session_id}/files"
    return await house.http.put(
        url, params={"filename": filename}, content=content, headers={"Content-Type": kind} if kind else {}
    )


async def kept(house: House, session_id: str) -> list[str]:
    return await house.services.blobs.list(session_id)


async def test_what_went_up_comes_down_and_a_message_shows_it(house: House):
    session_id = await house.begin()
    answers = [await upload(house, session_id, TEXT, "log of today.txt") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json() == named(TEXT, "log of today.txt")
    said = await house.http.post(
        f"/api/sessions/{session_id}/messages", json={"text": "Look", "files": [answers[0].json()]}
    )
    assert said.status_code == 202
    items = (await house.http.get(f"/api/sessions/{session_id}/items")).json()["items"]
    [shown] = items[-1]["files"]
    assert shown == named(TEXT, "log of today.txt")
    down = await house.http.get(f"/api/sessions/{session_id}/files/{shown['name']}")
    assert down.content == TEXT
    assert down.headers["content-length"] == str(len(TEXT))


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("image/png", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html; charset=utf-8", "attachment"),
        ("", "attachment"),
    ],
)
async def test_nothing_that_came_in_is_run_as_a_page_of_this_site(house: House, kind: str, place: str):
    session_id = await house.begin()
    name = (await upload(house, session_id, PIXEL, kind=kind)).json()["name"]
    filename = 'a"; x=\N{BUG}.html'
    down = await house.http.get(f"/api/sessions/{session_id}/files/{name}", params={"filename": filename})
    assert down.headers["content-type"] == (kind or "application/octet-stream")
    expected = f"{place}; filename*=UTF-8''a%22%3B%20x%3D%F0%9F%90%9B.html"
    assert down.headers["content-disposition"] == expected
    assert down.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert down.headers["x-content-type-options"] == "nosniff"


async def test_what_a_name_stands_for_is_fetched_once(house: House):
    session_id = await house.begin()
    name = (await upload(house, session_id, PIXEL)).json()["name"]
    url = f"/api/sessions/{session_id}/files/{name}"
    first = await house.http.get(url)
    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    again = await house.http.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_file_that_is_too_large_is_refused_with_advice(house: House, declared: bool):
    session_id = await house.begin()
    body = b"x" * (MAX_FILE + 1)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]

    for url, headers in (
        (f"/api/sessions/{session_id}/files?filename=a", {}),
        (f"/api/worker/files/{hashlib.sha256(body).hexdigest()}", house.worker(session_id)),
    ):
        await house.start_machine(session_id)
        answer = await house.http.put(url, content=body if declared else pieces(), headers=headers)
        assert answer.status_code == 413
        assert "25 MB" in answer.json()["detail"]
        assert "compress" in answer.json()["detail"]
    assert await kept(house, session_id) == []


async def test_the_largest_file_fits(house: House):
    session_id = await house.begin()
    assert (await upload(house, session_id, b"x" * MAX_FILE)).json()["size"] == MAX_FILE


@pytest.mark.parametrize("filename", ["", "a/b", "a\\b", "a\nb", "x" * 256])
async def test_a_filename_is_no_path(house: House, filename: str):
    session_id = await house.begin()
    assert (await upload(house, session_id, TEXT, filename)).status_code == 422
    assert await kept(house, session_id) == []


async def test_only_files_that_are_there_are_referred_to(house: House):
    session_id = await house.begin()
    await house.start_machine(session_id)
    before = house.stored()
    body = {"text": "Look", "files": [named(TEXT)]}
    said = await house.http.post(f"/api/sessions/{session_id}/messages", json=body)
    shown = {"id": "i1", "kind": "tool_output", "files": [named(PIXEL)]}
    done = await house.http.post("/api/worker/items", json={"items": [shown]}, headers=house.worker(session_id))
    for answer in (said, done):
        assert answer.status_code == 422
        assert "upload it first" in answer.json()["detail"]
    assert house.stored() == before


async def test_a_worker_keeps_and_fetches_files_of_its_own_session(house: House):
    mine, other = await house.begin(), await house.begin("Another")
    for session_id in (mine, other):
        await house.start_machine(session_id)
    name = named(PIXEL)["name"]
    url = f"/api/worker/files/{name}"
    put = await house.http.put(url, content=PIXEL, headers=house.worker(mine) | {"Content-Type": "image/png"})
    assert put.json() == {"name": name, "size": len(PIXEL), "content_type": "image/png"}
    assert (await house.http.get(url, headers=house.worker(mine))).content == PIXEL
    assert (await house.http.get(url, headers=house.worker(other))).status_code == 404
    assert (await house.http.get(url)).status_code == 401
    assert (await house.http.get(f"/api/sessions/{mine}/files/{name}")).content == PIXEL
    shown = {"id": "i1", "kind": "tool_output", "files": [named(PIXEL, "shot.png", "image/png")]}
    done = await house.http.post("/api/worker/items", json={"items": [shown]}, headers=house.worker(mine))
    assert done.status_code == 200


async def test_content_that_is_not_what_its_name_says_is_not_kept(house: House):
    session_id = await house.begin()
    await house.start_machine(session_id)
    url = f"/api/worker/files/{named(TEXT)['name']}"
    answer = await house.http.put(url, content=TEXT + b"cut", headers=house.worker(session_id))
    assert answer.status_code == 422
    assert await kept(house, session_id) == []


async def test_files_are_as_private_as_their_session(cloud: House):
    ann, bob = await cloud.key("ann"), await cloud.key("bob")
    begun = await cloud.http.post("/api/sessions", json={"message": "mine"}, headers=ann)
    url = begun.json()["links"]["files"]
    put = await cloud.http.put(f"{url}?filename=a", content=TEXT, headers=ann)
    name = put.json()["name"]
    assert (await cloud.http.get(f"{url}/{name}", headers=ann)).status_code == 200
    known = {"If-None-Match": f'"{name}"'}
    assert (await cloud.http.get(f"{url}/{name}", headers=bob | known)).status_code == 404
    assert (await cloud.http.put(f"{url}?filename=a", content=TEXT, headers=bob)).status_code == 404


# --- before a session begins ------------------------------------------------------------------------------------------


async def test_a_session_begins_with_the_last_of_its_files(house: House):
    files = [named(TEXT), named(PIXEL, "b.png", "image/png")]
    request = {"message": "Look at these", "files": files}
    headers = {"Idempotency-Key": "one"}
    begun = (await house.http.post("/api/sessions", json=request, headers=headers)).json()
    session_id = begun["id"]
    assert begun["awaited_files"] == [file["name"] for file in files]

    too_early = await house.http.post(f"/api/sessions/{session_id}/messages", json={"text": "and?"})
    assert too_early.status_code == 409
    assert files[1]["name"] in too_early.json()["detail"]
    await upload(house, session_id, TEXT)
    assert house.bells.started == []
    again = (await house.http.post("/api/sessions", json=request, headers=headers)).json()
    assert again == begun | {"awaited_files": [files[1]["name"]]}

    await upload(house, session_id, PIXEL, "b.png", "image/png")
    assert house.bells.started == [session_id]
    [first] = await house.services.log.items(session_id)
    assert first.files == [FileRef.model_validate(file) for file in files]


async def test_files_that_came_before_a_crash_begin_the_session_in_the_janitors_round(house: House):
    begun = await house.http.post("/api/sessions", json={"message": "Look", "files": [named(TEXT)]})
    session_id = begun.json()["id"]
    name = named(TEXT)["name"]
    await house.services.blobs.put(session_id, name, TEXT, "text/plain")  # and then the host was gone
    await tidy(house.services, house.bells, datetime.now(UTC) + timedelta(minutes=6))
    assert [item.id for item in await house.services.log.items(session_id)] == ["request"]
    assert house.bells.started == [session_id]


async def test_an_upload_that_was_given_up_ends_after_a_day(house: House):
    begun = await house.http.post("/api/sessions", json={"message": "Look", "files": [named(TEXT), named(PIXEL)]})
    session_id = begun.json()["id"]
    await upload(house, session_id, TEXT)
    for hours in (1, 23):
        await tidy(house.services, house.bells, datetime.now(UTC) + timedelta(hours=hours))
    assert house.bells.rung == []
    for _ in range(2):
        await tidy(house.services, house.bells, datetime.now(UTC) + timedelta(hours=25))
    assert house.bells.rung == [(session_id, "control")] * 2
    assert [each.kind for each in await house.services.log.controls(session_id)] == [ControlKind.DELETE]
    assert await house.services.log.items(session_id) == []


async def test_a_session_that_waits_for_files_can_be_deleted(house: House):
    begun = await house.http.post("/api/sessions", json={"message": "Look", "files": [named(TEXT)]})
    session_id = begun.json()["id"]
    assert (await house.http.delete(f"/api/sessions/{session_id}")).status_code == 202
    assert house.bells.rung == [(session_id, "control")]


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_files_go_with_their_session(house: House):
    session_id = await house.begin()
    await upload(house, session_id, TEXT)
    await house.services.log.purge(session_id)
    assert await kept(house, session_id) == []


@pytest.mark.parametrize("purged", [False, True])
async def test_a_file_that_comes_while_its_session_goes_does_not_stay(house: House, purged: bool):
    session_id = await house.begin()
    await house.start_machine(session_id)

    async def meanwhile() -> AsyncIterator[bytes]:
        yield TEXT[:5]
        await house.services.log.project(session_id, 9, {"phase": Phase.DELETING})
        if purged:
            await house.services.log.purge(session_id)
        yield TEXT[5:]

    url = f"/api/worker/files/{named(TEXT)['name']}"
    answer = await house.http.put(url, content=meanwhile(), headers=house.worker(session_id))
    assert answer.status_code == 409
    assert await kept(house, session_id) == []
    late = await upload(house, session_id, TEXT)
    assert late.status_code == (404 if purged else 409)
