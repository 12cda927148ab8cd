"""Who may: keys with scopes, and this machine alone without one."""

from __future__ import annotations

import pytest

from nightshift.keys import Scope
from tests.api.house import House, client

BODY = {"message": "hi"}


@pytest.mark.parametrize("host", ["127.0.0.1:7071", "localhost", "LOCALHOST:7071", "[::1]:80"])
async def test_this_machine_needs_no_key(house: House, host: str):
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert (await house.http.post("/api/sessions", json=BODY, headers=headers)).status_code == 202


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7071", "evil@localhost", "10.0.0.1", ""]
)
async def test_a_name_that_only_points_here_is_refused(house: House, host: str):
    for method in ("GET", "POST"):
        json = BODY if method == "POST" else None
        answer = await house.http.request(method, "/api/sessions", json=json, headers={"Host": host})
        assert answer.status_code == 401
    assert (await house.http.get("/", headers={"Host": host})).status_code == 401
    assert house.stored() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:7071"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:7071", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_another_site_in_the_users_browser_changes_nothing(house: House, headers: dict[str, str]):
    session_id = await house.begin()
    before, path = house.stored(), f"/api/sessions/{session_id}"
    answers = [
        await house.http.post("/api/sessions", json=BODY, headers=headers),
        await house.http.post(f"{path}/stop", headers=headers),
        await house.http.delete(path, headers=headers),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert house.stored() == before


@pytest.mark.parametrize("headers", [{}, {"Host": "127.0.0.1"}, {"Authorization": "Basic eDp5"}])
async def test_elsewhere_a_key_is_needed(cloud: House, headers: dict[str, str]):
    for path in ("/api/sessions", "/api/sessions/s-1", "/", "/sessions/s-1"):
        answer = await cloud.http.get(path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = await cloud.http.post("/api/sessions", json=BODY, headers=headers)
    assert answer.status_code == 401
    assert cloud.stored() == []


async def test_a_wrong_key_is_wrong_on_this_machine_too(house: House):
    good = (await house.key("ann"))["Authorization"].removeprefix("Bearer ")
    other = (await house.key("bob"))["Authorization"].removeprefix("Bearer ")
    mixed = good[: good.rindex(good.split("_", 2)[2])] + other.split("_", 2)[2]
    for key in ("nonsense", "ns_", good[:-1], good + "x", mixed, "ns_0000000000000000_" + "a" * 43):
        for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
            assert (await house.http.get("/api/sessions", headers=headers)).status_code == 401


async def test_a_key_is_taken_from_either_header(cloud: House):
    bearer = await cloud.key("ann")
    plain = {"X-API-Key": bearer["Authorization"].removeprefix("Bearer ")}
    for headers in (bearer, plain):
        assert (await cloud.http.get("/api/sessions", headers=headers)).status_code == 200


async def test_a_key_does_what_its_scopes_say(cloud: House):
    reads, writes, rules = [await cloud.key("ann", scope) for scope in Scope]
    begun = await cloud.http.post("/api/sessions", json=BODY, headers=writes)
    assert begun.status_code == 202
    path = begun.json()["links"]["self"]
    assert (await cloud.http.get(path, headers=reads)).status_code == 200
    assert (await cloud.http.get(path, headers=writes)).status_code == 403
    before = cloud.stored()
    refused = await cloud.http.post(f"{path}/stop", headers=reads)
    assert refused.status_code == 403
    assert "'write'" in refused.json()["detail"]
    assert cloud.stored() == before
    assert (await cloud.http.post(f"{path}/stop", headers=rules)).status_code == 202
    assert (await cloud.http.get(path, headers=rules)).json()["durable"]


async def test_the_stylesheet_is_for_everybody_because_the_401_page_wears_it(cloud: House):
    assert (await cloud.http.get("/static/0/app.css")).status_code == 200


async def test_the_pages_show_everybody_their_own_sessions(cloud: House):
    anns = await cloud.key("ann", Scope.ADMIN)
    begun = await cloud.http.post("/api/sessions", json=BODY, headers=anns)
    id = begun.json()["id"]
    bobs = await cloud.key("bob")
    theirs = await cloud.http.get("/", headers=bobs)
    assert (theirs.status_code, id in theirs.text) == (200, False)
    assert (await cloud.http.get(f"/sessions/{id}", headers=bobs)).status_code == 404
    assert (await cloud.http.get(f"/sessions/{id}/fragment?after=0", headers=bobs)).status_code == 404
    assert id in (await cloud.http.get("/", headers=anns)).text


async def test_health_needs_nothing(cloud: House):
    async with client(cloud.app, cloud.bells, "http://10.1.2.3") as probe:
        answer = await probe.get("/api/health")
    assert answer.json()["status"] == "ok"
    assert answer.json()["version"]
