"""Every route says what it needs. A route that is not in this table fails here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from nightshift.blobs import name_of
from nightshift.devices import device_id
from nightshift.keys import Scope
from nightshift.webpush import WebPush
from tests.api.conftest import moved
from tests.api.house import House
from tests.api.issuer import OTHER, Issuer, signed_in
from tests.pushservice import PushService, push_service

NEEDS = {
    "GET /api/health": None,
    "GET /api/ready": None,
    "GET /openapi.json": None,
    "GET /static/{wanted}/{name}": None,
    "GET /": "read",
    "GET /rail": "read",
    "GET /sessions": "read",
    "GET /sessions/{session_id}": "read",
    "GET /sessions/{session_id}/fragment": "read",
    "GET /sessions/{session_id}/items/{seq}": "read",
    "GET /sessions/{session_id}/timeline": "read",
    "GET /sessions/{session_id}/history": "read",
    "GET /cost": "read",
    "GET /cost.csv": "read",
    "GET /settings": "read",
    "GET /settings/keys": "read",
    "GET /settings/devices": "read",
    "GET /sw.js": None,
    "GET /manifest.webmanifest": None,
    "GET /settings/agents/new": "read",
    "GET /settings/agents/{agent_id}": "read",
    "GET /admin": "admin",
    "GET /admin/now": "admin",
    "GET /api/sessions": "read",
    "POST /api/sessions": "write",
    "GET /api/sessions/{session_id}": "read",
    "DELETE /api/sessions/{session_id}": "write",
    "GET /api/sessions/{session_id}/items": "read",
    "GET /api/sessions/{session_id}/live": "read",
    "PUT /api/sessions/{session_id}/files": "write",
    "GET /api/sessions/{session_id}/files/{name}": "read",
    "POST /api/sessions/{session_id}/messages": "write",
    "POST /api/sessions/{session_id}/interrupt": "write",
    "POST /api/sessions/{session_id}/stop": "write",
    "POST /api/sessions/{session_id}/resume": "write",
    "PUT /api/sessions/{session_id}/read": "read",
    "GET /api/audit": "admin",
    "GET /api/agents": "read",
    "POST /api/agents": "write",
    "GET /api/agents/{agent_id}": "read",
    "PUT /api/agents/{agent_id}": "write",
    "DELETE /api/agents/{agent_id}": "write",
    "GET /api/preferences": "read",
    "PUT /api/preferences": "write",
    "POST /api/sessions/{session_id}/budget": "write",
    "GET /api/keys": "read",
    "POST /api/keys": "write",
    "DELETE /api/keys/{key_id}": "write",
    "GET /api/devices": "read",
    "PUT /api/devices": "write",
    "DELETE /api/devices/{id}": "write",
    "POST /api/devices/{id}/test": "write",
    "GET /api/worker/session": "worker",
    "GET /api/worker/items": "worker",
    "POST /api/worker/items": "worker",
    "POST /api/worker/drafts": "worker",
    "POST /api/worker/reports": "worker",
    "POST /api/worker/reservations": "worker",
    "POST /api/worker/github-token": "worker",
    "PUT /api/worker/files/{name}": "worker",
    "GET /api/worker/files/{name}": "worker",
}
BODIES: dict[str, dict[str, Any]] = {}
"""Where the example of the API's own description would not do."""
QUERIES = {
    "GET /sessions/{session_id}/fragment": "?after=0",
    "PUT /api/sessions/{session_id}/files": "?filename=empty",
}
EMPTY = name_of(b"")
WAYS = ("key", "sign-in", "token")


def test_every_route_is_in_the_table(house: House):
    assert isinstance(house.app, FastAPI)
    routes = [
        f"{method} {route.path}"
        for route in iter_route_contexts(house.app.routes)
        for method in (route.methods or {"?"}) - {"HEAD"}
    ]
    assert sorted(routes) == sorted(NEEDS)


@pytest.fixture
def push() -> Iterator[PushService]:
    with push_service() as service:
        yield service


@pytest.fixture
async def begun(azure: House, push: PushService, monkeypatch: pytest.MonkeyPatch) -> tuple[House, str]:
    settings = replace(azure.services.settings, push_services=(push.origin,))
    azure = moved(azure, replace(azure.services, settings=settings))
    browser = push.subscribe(WebPush.of(settings).public_key)
    monkeypatch.setitem(BODIES, "PUT /api/devices", {"subscription": browser.subscription.model_dump()})
    answer = await azure.http.post("/api/sessions", json={"message": "hi"}, headers=signed_in("user"))
    await azure.start_machine(answer.json()["id"])
    await azure.services.blobs.put(answer.json()["id"], EMPTY, b"", "text/plain")
    return azure, answer.json()["id"]


def example(house: House, route: str) -> Any:
    """The body that the API's own description shows for it."""
    if route in BODIES:
        return BODIES[route]
    assert isinstance(house.app, FastAPI)
    method, path = route.split(" ")
    operation = house.app.openapi()["paths"].get(path, {}).get(method.lower(), {})
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return content["example"] if content else None


async def ask(house: House, route: str, session_id: str, headers: dict[str, str]) -> int:
    method, path = route.split(" ")
    key = await house.http.post("/api/keys", json={}, headers=signed_in("user")) if "key_id" in path else None
    device = BODIES["PUT /api/devices"]["subscription"]
    if "{id}" in path:
        await house.http.put("/api/devices", json=BODIES["PUT /api/devices"], headers=signed_in("user"))
    agent = (
        await house.http.post("/api/agents", json={"name": "A"}, headers=signed_in("user")) if "agent" in path else None
    )
    path = path.format_map(
        {
            "id": device_id(device["endpoint"]),
            "session_id": session_id,
            "wanted": "0",
            "name": EMPTY if "/files/" in path else "app.css",
            "seq": "1",
            "key_id": key.json()["key"]["id"] if key else "",
            "agent_id": agent.json()["id"] if agent else "",
        }
    )
    url = path + QUERIES.get(route, "")
    return (await house.http.request(method, url, json=example(house, route), headers=headers)).status_code


async def headers_of(house: House, tenant: Issuer, way: str, who: str, *scopes: Scope) -> dict[str, str]:
    """The same rights, however one comes in."""
    match way:
        case "key":
            return await house.key(f"entra:{tenant.entra.tenant}:{who}", *scopes)
        case "sign-in":
            return signed_in(*scopes, oid=who)
        case _:
            return tenant.bearer(oid=who, roles=[*scopes])


@pytest.mark.parametrize("route", NEEDS)
async def test_a_route_opens_to_what_it_needs_and_to_nothing_else(begun: tuple[House, str], tenant: Issuer, route: str):
    house, session_id = begun
    need, ann = NEEDS[route], tenant.claims()["oid"]
    worker = house.worker(session_id)
    assert (await ask(house, route, session_id, {}) == 401) is (need is not None)
    assert (await ask(house, route, session_id, worker) < 400) is (need in (None, "worker"))
    for way in WAYS:
        for scope in Scope:
            status = await ask(house, route, session_id, await headers_of(house, tenant, way, ann, scope))
            match need:
                case None:
                    assert status < 400
                case "worker":
                    assert status == 401
                case _ if scope in (need, Scope.ADMIN):
                    # A key makes no keys, except an admin's.
                    refused = (route, way) == ("POST /api/keys", "key") and scope is not Scope.ADMIN
                    assert (status == 403) is refused, (way, scope, status)
                    assert refused or status < 400, (way, scope, status)
                case _:
                    assert status == 403, (way, scope, status)


@pytest.mark.parametrize("route", [route for route in NEEDS if "_id}" in route])
async def test_what_is_somebody_elses_is_not_there_but_for_admins(begun: tuple[House, str], tenant: Issuer, route: str):
    house, session_id = begun
    for way in WAYS:
        stranger = await headers_of(house, tenant, way, OTHER, Scope.READ, Scope.WRITE)
        assert await ask(house, route, session_id, stranger) == 404, way
        admin = await headers_of(house, tenant, way, OTHER, Scope.ADMIN)
        # An agent may hold tokens, which are nobody else's business.
        assert (await ask(house, route, session_id, admin) < 400) is ("agent_id" not in route), way


@pytest.mark.parametrize("path", ["/", "/api/sessions", "/api/keys"])
async def test_lists_show_ones_own_and_admins_everything(begun: tuple[House, str], tenant: Issuer, path: str):
    house, session_id = begun
    key = (await house.http.post("/api/keys", json={}, headers=signed_in("user"))).json()["key"]["id"]
    shown = key if path == "/api/keys" else session_id
    for way in ("sign-in", "token"):
        for who, scopes, sees in (
            (tenant.claims()["oid"], (Scope.READ,), True),
            (OTHER, (Scope.READ,), False),
            (OTHER, (Scope.ADMIN,), True),
        ):
            page = await house.http.get(path, headers=await headers_of(house, tenant, way, who, *scopes))
            assert (shown in page.text) is sees
