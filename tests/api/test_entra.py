"""Access tokens of Entra: only what this tenant signed, for this app, now; and not more than was granted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest

from nightshift.entra import AccessTokens
from nightshift.errors import Forbidden, Retryable, Unauthorized
from nightshift.jwks import FRESH, PAUSE, USABLE
from nightshift.keys import Scope
from tests.api.house import House
from tests.api.issuer import ANN, CLIENT, OTHER, SUBJECT, TENANT, Issuer, pem, private_key

APP: dict[str, Any] = {"scp": None, "name": None, "sub": ANN}
"""What makes it a token that a program has for itself."""


async def listed(azure: House, token: str) -> tuple[int, str]:
    answer = await azure.http.get("/api/sessions", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, answer.text


def hs256(tenant: Issuer) -> str:
    """PyJWT would not sign with a public key as the secret; an attacker does it by hand."""

    def part(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "first"}).encode())
    text = head + b"." + part(json.dumps(tenant.claims()).encode())
    return (text + b"." + part(hmac.digest(pem("first"), text, hashlib.sha256))).decode()


def changed_after(tenant: Issuer) -> str:
    head, _, signature = tenant.token().split(".")
    claims = json.dumps(tenant.claims(roles=["admin"])).encode()
    return f"{head}.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.{signature}"


def signed(tenant: Issuer, kid: str, headers: dict[str, Any], algorithm: str = "RS256") -> str:
    return jwt.encode(tenant.claims(), private_key(kid), algorithm=algorithm, headers=headers)


FORGERIES: dict[str, Callable[[Issuer], str]] = {
    "signed by another key of the same name": lambda tenant: signed(tenant, "mine", {"kid": "first"}),
    "changed after it was signed": changed_after,
    "alg none": lambda tenant: jwt.encode(tenant.claims(), "", algorithm="none", headers={"kid": "first"}),
    "HS256 with the public key as the secret": hs256,
    "another algorithm": lambda tenant: signed(tenant, "first", {"kid": "first"}, "RS512"),
    "without a key id": lambda tenant: signed(tenant, "first", {}),
    "an unknown key": lambda tenant: tenant.token("mine"),
    "brings its own key": lambda tenant: signed(
        tenant, "mine", {"kid": "mine", "jku": "https://evil.example/keys", "jwk": {"kty": "RSA"}}
    ),
    "expired": lambda tenant: tenant.token(exp=time.time() - 120),
    "not valid yet": lambda tenant: tenant.token(nbf=time.time() + 120),
    "without an end": lambda tenant: tenant.token(exp=None),
    "without a beginning": lambda tenant: tenant.token(nbf=None),
    "another audience": lambda tenant: tenant.token(aud=OTHER),
    "another app's URI": lambda tenant: tenant.token(aud=f"api://{OTHER}"),
    "no audience": lambda tenant: tenant.token(aud=None),
    "another tenant": lambda tenant: tenant.token(tid=OTHER),
    "no tenant": lambda tenant: tenant.token(tid=None),
    "another tenant's issuer": lambda tenant: tenant.token(iss=f"{tenant.authority}/{OTHER}/v2.0"),
    "another tenant's v1 issuer": lambda tenant: tenant.token(iss=f"https://sts.windows.net/{OTHER}/"),
    "an issuer that only begins like ours": lambda tenant: tenant.token(iss=f"{tenant.authority}/{TENANT}/v2.0/x"),
    "no issuer": lambda tenant: tenant.token(iss=None),
    "nobody": lambda tenant: tenant.token(oid=None),
    "an ID token": lambda tenant: tenant.token(azp=None, scp=None),
    "an ID token with a program's name": lambda tenant: tenant.token(scp=None),
    "a user's token that says it is a program's": lambda tenant: tenant.token(scp=None, idtyp="user", sub=ANN),
    "no token at all": lambda tenant: "nonsense",
    "three empty parts": lambda tenant: "..",
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forgery_opens_nothing(azure: House, tenant: Issuer, forgery: str):
    status, text = await listed(azure, FORGERIES[forgery](tenant))
    assert status == 401, text
    assert json.loads(text)["type"] == "urn:nightshift:unauthorized"


async def test_what_entra_would_not_sign_never_makes_us_ask_for_keys(azure: House, tenant: Issuer):
    for forgery in ("alg none", "HS256 with the public key as the secret", "without a key id", "no token at all"):
        await listed(azure, FORGERIES[forgery](tenant))
    assert tenant.asked == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": f"api://{CLIENT}"},
        {"iss": f"https://sts.windows.net/{TENANT}/", "ver": "1.0", "azp": None, "appid": OTHER},
        {"ends": -20},
        {"begins": 20},
    ],
)
async def test_a_token_of_either_version_is_taken_within_a_minute_of_its_time(
    azure: House, tenant: Issuer, changes: dict[str, Any]
):
    now = time.time()
    begins, ends = now + changes.pop("begins", 0), now + changes.pop("ends", 3600)
    assert (await listed(azure, tenant.token(**changes, nbf=begins, exp=ends)))[0] == 200


async def test_whoever_comes_by_token_is_known_by_tenant_and_object_and_named_for_people(azure: House, tenant: Issuer):
    begun = await azure.http.post("/api/sessions", json={"message": "hi"}, headers=tenant.bearer())
    assert begun.status_code == 202
    session = (await azure.http.get(begun.json()["links"]["self"], headers=tenant.bearer(name="Ann B."))).json()
    assert (session["owner"], session["owner_name"], session["durable"]) == (SUBJECT, "Ann", None)
    [item] = await azure.services.log.items(begun.json()["id"])
    assert item.author == "Ann"
    someone_else = tenant.bearer(oid=OTHER)
    assert (await azure.http.get(begun.json()["links"]["self"], headers=someone_else)).status_code == 404


@pytest.mark.parametrize(
    ("changes", "scopes"),
    [
        ({"roles": ["user"]}, {Scope.READ, Scope.WRITE}),
        ({"roles": ["admin"]}, set(Scope)),
        ({"roles": ["read", "nobody knows this one"]}, {Scope.READ}),
        ({"roles": ["admin"], "scp": "read"}, {Scope.READ}),
        ({"roles": ["admin"], "scp": "openid write read"}, {Scope.READ, Scope.WRITE}),
        ({"roles": ["user"], "scp": "admin"}, {Scope.READ, Scope.WRITE}),
        ({"roles": ["user"], "scp": "openid"}, None),
        ({"roles": ["nobody knows this one"]}, None),
        ({"roles": None}, None),
        (APP | {"roles": ["read"]}, {Scope.READ}),
        (APP | {"roles": ["admin"]}, set(Scope)),
        (APP | {"roles": ["read", "write"], "idtyp": "app", "sub": "other"}, {Scope.READ, Scope.WRITE}),
        (APP | {"roles": None}, None),
        (APP | {"roles": ["user_impersonation"]}, None),
    ],
)
async def test_roles_and_delegated_scopes_say_what_a_token_may(
    tenant: Issuer, changes: dict[str, Any], scopes: set[Scope] | None
):
    tokens = tenant.access_tokens()
    if scopes is None:
        with pytest.raises(Forbidden, match="role"):
            await tokens.verify(tenant.token(**changes))
    else:
        account = await tokens.verify(tenant.token(**changes))
        assert (account.scopes, account.name) == (scopes, changes.get("name", "Ann") or OTHER)


async def test_without_a_required_role_people_are_users_but_programs_are_nobody(tenant: Issuer):
    tokens = AccessTokens(replace(tenant.entra, role_required=False))
    assert (await tokens.verify(tenant.token(roles=None))).scopes == {Scope.READ, Scope.WRITE}
    assert (await tokens.verify(tenant.token(roles=["admin"]))).scopes == set(Scope)
    assert (await tokens.verify(tenant.token(roles=None, scp="read"))).scopes == {Scope.READ}
    with pytest.raises(Forbidden):
        await tokens.verify(tenant.token(**APP, roles=None))


async def test_keys_tokens_and_worker_tokens_open_their_own_doors_only(azure: House, tenant: Issuer):
    key = await azure.key("bob")
    begun = await azure.http.post("/api/sessions", json={"message": "hi"}, headers=key)
    session_id = begun.json()["id"]
    await azure.start_machine(session_id)
    worker = azure.worker(session_id)
    for headers in (key, {"X-API-Key": key["Authorization"].removeprefix("Bearer ")}, tenant.bearer()):
        assert (await azure.http.get("/api/sessions", headers=headers)).status_code == 200
        assert (await azure.http.get("/api/worker/session", headers=headers)).status_code == 401
    assert (await azure.http.get("/api/worker/session", headers=worker)).status_code == 200
    assert (await azure.http.get("/api/sessions", headers=worker)).status_code == 401


async def test_where_no_tenant_is_set_its_tokens_open_nothing(cloud: House, tenant: Issuer):
    assert (await listed(cloud, tenant.token()))[0] == 401
    assert tenant.asked == []


# --- the tenant's keys ---------------------------------------------------------------------------------------


async def test_of_many_tokens_at_once_one_fetches_the_keys_and_all_are_served(azure: House, tenant: Issuer):
    answers = await asyncio.gather(*(listed(azure, tenant.token()) for _ in range(20)))
    assert {status for status, _ in answers} == {200}
    assert tenant.asked == [f"/{TENANT}/discovery/v2.0/keys"]


async def test_a_new_key_is_found_and_invented_ones_do_not_make_us_ask_and_ask(tenant: Issuer):
    tokens = tenant.access_tokens()
    await tokens.verify(tenant.token())
    for number in range(5):
        with pytest.raises(Unauthorized):
            await tokens.verify(tenant.token(f"mine {number % 2}"))
    assert len(tenant.asked) == 1

    tenant.published = ["first", "second"]
    with pytest.raises(Unauthorized):
        await tokens.verify(tenant.token("second"))
    tenant.now += PAUSE
    await tokens.verify(tenant.token("second"))
    await tokens.verify(tenant.token("first"))
    assert len(tenant.asked) == 2


async def test_a_withdrawn_key_ends(tenant: Issuer):
    tokens = tenant.access_tokens()
    await tokens.verify(tenant.token())
    tenant.published = ["second"]
    tenant.now += FRESH
    with pytest.raises(Unauthorized):
        await tokens.verify(tenant.token())


ILL = {
    "an error": (500, b"{}"),
    "a redirect": (302, b""),
    "no JSON": (200, b"<html>"),
    "something else": (200, b'["keys"]'),
    "no keys": (200, b'{"keys": []}'),
    "broken keys": (200, b'{"keys": [{"kty": "RSA", "kid": "first", "n": "", "e": ""}]}'),
    "strange keys": (200, b'{"keys": ["first"]}'),
}


@pytest.mark.parametrize("answer", ILL)
async def test_keys_that_cannot_be_had_are_no_judgement_on_the_token(
    azure: House, tenant: Issuer, answer: str, caplog: pytest.LogCaptureFixture
):
    tenant.answer = ILL[answer]
    with caplog.at_level(logging.WARNING):
        found = [
            await azure.http.get("/api/sessions", headers=tenant.bearer()),
            await azure.http.get("/api/sessions", headers=tenant.bearer()),
        ]
    assert [each.status_code for each in found] == [503, 503]
    assert found[0].headers["Retry-After"] == "30"
    assert len(tenant.asked) == 1, "it is not asked again at once"
    assert "could not be read" in caplog.text
    tenant.answer = None
    tenant.now += PAUSE
    assert (await listed(azure, tenant.token()))[0] == 200


async def test_an_issuer_that_nobody_reaches_is_a_passing_fault(tenant: Issuer):
    gone = AccessTokens(replace(tenant.entra, authority="http://127.0.0.1:1"))
    with pytest.raises(Retryable):
        await gone.verify(tenant.token())


async def test_known_keys_are_good_for_a_day_while_the_issuer_is_away(tenant: Issuer):
    tokens = tenant.access_tokens()
    await tokens.verify(tenant.token())
    tenant.answer = (500, b"")
    tenant.now += FRESH
    await tokens.verify(tenant.token())
    with pytest.raises(Retryable):
        await tokens.verify(tenant.token("second"))  # it may be a new one: who knows
    tenant.now += USABLE - FRESH
    with pytest.raises(Retryable):
        await tokens.verify(tenant.token())


async def test_a_key_for_other_tenants_does_not_sign_for_ours(tenant: Issuer):
    tenant.key_issuer = f"{tenant.authority}/{OTHER}/v2.0"
    with pytest.raises(Retryable):
        await tenant.access_tokens().verify(tenant.token())
    tenant.key_issuer = f"{tenant.authority}/{TENANT}/v2.0"
    await tenant.access_tokens().verify(tenant.token())
