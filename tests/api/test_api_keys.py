"""API keys over REST: one's own for everybody, everybody's for admins, and never more than one may oneself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from nightshift.keys import Scope
from nightshift.log import utc_now
from tests.api.house import House
from tests.api.issuer import OTHER, SUBJECT, Issuer, signed_in


async def make(house: House, headers: dict[str, str], **new: Any) -> dict[str, Any]:
    answer = await house.http.post("/api/keys", json=new, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(house: House, headers: dict[str, str]) -> list[str]:
    return [key["id"] for key in (await house.http.get("/api/keys", headers=headers)).json()["keys"]]


async def test_a_key_is_its_makers_and_is_shown_once(azure: House):
    ann = signed_in("user")
    made = await make(azure, ann)
    assert (made["key"]["owner"], made["key"]["owner_name"]) == (SUBJECT, "Ann")
    assert set(made["key"]["scopes"]) == {"read", "write"}
    assert abs(datetime.fromisoformat(made["key"]["expires_at"]) - utc_now() - timedelta(days=90)) < timedelta(hours=1)
    key = {"X-API-Key": made["text"]}
    begun = await azure.http.post("/api/sessions", json={"message": "hi"}, headers=key)
    session = (await azure.http.get(begun.json()["links"]["self"], headers=ann)).json()
    assert (session["owner"], session["owner_name"]) == (SUBJECT, "Ann")
    shown = (await azure.http.get("/api/keys", headers=ann)).json()["keys"]
    assert [each["id"] for each in shown] == [made["key"]["id"]]
    assert shown[0]["last_used"]
    assert made["text"].split("_")[2] not in str(shown)


async def test_everybody_sees_and_revokes_their_own_and_admins_all(azure: House):
    ann, bob, admin = signed_in("user"), signed_in("user", oid=OTHER), signed_in("admin", oid=OTHER[:-1] + "8")
    anns, bobs = await make(azure, ann), await make(azure, bob)
    assert await listed(azure, ann) == [anns["key"]["id"]]
    assert await listed(azure, admin) == [bobs["key"]["id"], anns["key"]["id"]]
    refused = await azure.http.delete(f"/api/keys/{anns['key']['id']}", headers=bob)
    unknown = await azure.http.delete("/api/keys/0000000000000000", headers=bob)
    assert (refused.status_code, unknown.status_code) == (404, 404)
    assert refused.json()["detail"].replace(anns["key"]["id"], "0" * 16) == unknown.json()["detail"]
    for who, made in ((ann, anns), (admin, bobs)):
        assert (await azure.http.delete(f"/api/keys/{made['key']['id']}", headers=who)).status_code == 204
        assert (await azure.http.get("/api/sessions", headers={"X-API-Key": made["text"]})).status_code == 401
    assert await listed(azure, admin) == []


async def test_nobody_gives_a_key_more_than_they_may(azure: House, tenant: Issuer):
    for headers, new, status in (
        (signed_in("user"), {"scopes": ["read", "admin"]}, 403),
        (signed_in("user"), {"owner": "bob"}, 403),
        (signed_in("user"), {"owner": SUBJECT}, 201),
        (signed_in("write"), {}, 403),
        (signed_in("write"), {"scopes": ["write"]}, 201),
        (signed_in("read"), {"scopes": ["read"]}, 403),
        (tenant.bearer(roles=["admin"], scp="write"), {"scopes": ["admin"]}, 403),
        (tenant.bearer(), {"scopes": ["read"]}, 201),
        (signed_in("admin"), {"scopes": ["admin"], "owner": "bob"}, 201),
        (await azure.key("ann"), {}, 403),
        (await azure.key("ann", Scope.ADMIN), {"owner": "bob"}, 201),
    ):
        answer = await azure.http.post("/api/keys", json=new, headers=headers)
        assert answer.status_code == status, (new, answer.text)


@pytest.mark.parametrize(
    ("new", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"days": 0}, "days"),
        ({"days": 366}, "days"),
        ({"owner": ""}, "owner"),
        ({"expires_at": None}, "expires_at"),
    ],
)
async def test_a_bad_wish_names_the_field(house: House, new: dict[str, Any], field: str):
    answer = await house.http.post("/api/keys", json=new)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await listed(house, {}) == []


async def test_a_repeated_request_makes_no_second_key(azure: House):
    ann, bob = signed_in("user"), signed_in("user", oid=OTHER)
    once = {"Idempotency-Key": "once"}
    made = await make(azure, ann | once)
    again = await azure.http.post("/api/keys", json={}, headers=ann | once)
    assert again.status_code == 409
    assert "revoke" in again.json()["detail"]
    assert await listed(azure, ann) == [made["key"]["id"]]
    await make(azure, bob | once)
