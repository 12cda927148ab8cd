"""People who sign in at App Service: its header is trusted where App Service writes it, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from nightshift.errors import Permanent
from nightshift.settings import Entra, Settings
from tests.api.conftest import moved
from tests.api.house import House
from tests.api.issuer import ANN, CLIENT, OTHER, SUBJECT, TENANT, Issuer, header, signed_in

BODY = {"message": "hi"}
HTML = {"Accept": "text/html,application/xhtml+xml"}
SITE = {"Origin": "https://nightshift.example", "Sec-Fetch-Site": "same-origin"}


# --- where the header is trusted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [signed_in("admin"), header("nonsense"), {"X-MS-CLIENT-PRINCIPAL-ID": ANN}, {"x-ms-client-principal-name": "ann"}],
)
@pytest.mark.parametrize("where", ["on one machine", "on a server", "on Azure with sign-in off"])
async def test_a_header_that_a_client_wrote_is_refused(
    house: House, cloud: House, tenant: Issuer, where: str, claim: dict[str, str]
):
    off = replace(house.services, settings=replace(house.services.settings, entra=tenant.entra))
    place = {"on one machine": house, "on a server": cloud}.get(where) or moved(house, off)
    key = await place.key("ann")
    for headers in (claim, claim | key, claim | HTML):
        answer = await place.http.get("/api/sessions", headers=headers)
        assert answer.status_code == 401
        assert "X-MS-CLIENT-PRINCIPAL" in answer.json()["detail"]
        assert (await place.http.post("/api/sessions", json=BODY, headers=headers)).status_code == 401
        assert (await place.http.get("/", headers=headers)).status_code == 401
    assert place.stored() == []


async def test_not_even_app_service_signs_in_for_a_worker(azure: House):
    begun = await azure.http.post("/api/sessions", json=BODY, headers=await azure.key("ann"))
    await azure.start_machine(begun.json()["id"])
    worker = azure.worker(begun.json()["id"])
    assert (await azure.http.get("/api/worker/session", headers=worker)).status_code == 200
    assert (await azure.http.get("/api/worker/session", headers=worker | signed_in("admin"))).status_code == 401


ENTRA = {"NIGHTSHIFT_ENTRA_TENANT_ID": TENANT, "NIGHTSHIFT_ENTRA_CLIENT_ID": CLIENT.upper()}
PLATFORM = {"WEBSITE_SITE_NAME": "nightshift", "WEBSITE_AUTH_ENABLED": "True"}


def settings(*parts: dict[str, str]) -> Settings:
    environment = {"NIGHTSHIFT_SIGNING_KEY": "k" * 32}
    for part in parts:
        environment |= part
    return Settings.read(environment)


@pytest.mark.parametrize(
    ("environment", "trusted"),
    [
        ({}, True),
        ({"NIGHTSHIFT_SIGN_IN": "1"}, True),
        ({"NIGHTSHIFT_SIGN_IN": "0"}, False),
        ({"NIGHTSHIFT_LOCAL": "1"}, False),
        ({"WEBSITE_AUTH_ENABLED": "False"}, False),
        ({"WEBSITE_AUTH_ENABLED": ""}, False),
        ({"WEBSITE_SITE_NAME": ""}, False),
        ({"WEBSITE_SITE_NAME": "", "WEBSITE_AUTH_ENABLED": "", "NIGHTSHIFT_SIGN_IN": "1"}, False),
    ],
)
def test_only_the_platform_can_say_yes_and_our_settings_can_only_say_no(environment: dict[str, str], trusted: bool):
    assert settings(ENTRA, PLATFORM, environment).sign_in is trusted


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        (PLATFORM, "NIGHTSHIFT_ENTRA_TENANT_ID"),
        ({"NIGHTSHIFT_ENTRA_TENANT_ID": TENANT}, "NIGHTSHIFT_ENTRA_CLIENT_ID"),
        (ENTRA | {"NIGHTSHIFT_ENTRA_TENANT_ID": "contoso.com"}, "domain"),
        (ENTRA | {"NIGHTSHIFT_ENTRA_AUTHORITY": "http://login.example"}, "https"),
        (ENTRA | {"NIGHTSHIFT_ENTRA_ROLE_REQUIRED": "no"}, "0 or 1"),
        (ENTRA | PLATFORM | {"NIGHTSHIFT_SIGN_IN": "off"}, "0 or 1"),
    ],
)
def test_a_setting_that_does_not_fit_is_told(environment: dict[str, str], word: str):
    with pytest.raises(Permanent) as told:
        settings(environment)
    assert word in f"{told.value} {told.value.advice}"


def test_the_tenant_is_read():
    assert settings().entra is None
    assert settings(ENTRA).entra == Entra(TENANT, CLIENT)
    other = settings(
        ENTRA,
        {"NIGHTSHIFT_ENTRA_AUTHORITY": "https://login.microsoftonline.us/", "NIGHTSHIFT_ENTRA_ROLE_REQUIRED": "0"},
    )
    assert other.entra == Entra(TENANT, CLIENT, "https://login.microsoftonline.us", role_required=False)


# --- who it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("long", [True, False])
async def test_a_person_is_known_by_tenant_and_object_and_named_for_people(azure: House, long: bool):
    begun = await azure.http.post("/api/sessions", json=BODY, headers=signed_in("user", long=long) | SITE)
    assert begun.status_code == 202
    path = begun.json()["links"]["self"]
    session = (await azure.http.get(path, headers=signed_in("user", long=not long))).json()
    assert (session["owner"], session["owner_name"]) == (SUBJECT, "Ann")
    assert (await azure.http.get(path, headers=signed_in("user", oid=OTHER))).status_code == 404
    assert (await azure.http.get(path, headers=signed_in("admin", oid=OTHER))).json()["durable"]


async def test_a_person_and_her_token_are_the_same(azure: House, tenant: Issuer):
    begun = await azure.http.post("/api/sessions", json=BODY, headers=signed_in("user") | SITE)
    path = begun.json()["links"]["self"]
    assert (await azure.http.get(path, headers=tenant.bearer())).status_code == 200
    # App Service passes on whose token it is, too; what the token may is still decided by the token alone.
    both = tenant.bearer(scp="read") | signed_in("admin")
    assert (await azure.http.get(path, headers=both)).status_code == 200
    assert (await azure.http.post(f"{path}/stop", headers=both)).status_code == 403
    assert (await azure.http.get(path, headers=signed_in("admin") | {"X-API-Key": "ns_x"})).status_code == 401


def claims(*pairs: tuple[str, Any]) -> dict[str, Any]:
    return {"claims": [{"typ": typ, "val": value} for typ, value in pairs]}


MALFORMED = {
    "empty": {"X-MS-CLIENT-PRINCIPAL": ""},
    "no base64": {"X-MS-CLIENT-PRINCIPAL": "{}"},
    "base64 with something after it": {k: v + "!" for k, v in signed_in("user").items()},
    "two of them": {k: f"{v},{v}" for k, v in signed_in("user").items()},
    "no UTF-8": header(b"\xff\xfe"),
    "no JSON": header("nonsense"),
    "no object": header("[]"),
    "nothing in it": header("{}"),
    "no list of claims": signed_in("user", claims={"tid": TENANT}),
    "claims that are no text": signed_in("user", **claims(("tid", TENANT), ("oid", 5))),
    "another provider": signed_in("user", auth_typ="facebook"),
    "another tenant": signed_in("user", tenant=OTHER),
    "two tenants": signed_in(**claims(("tid", TENANT), ("tid", OTHER), ("oid", ANN), ("roles", "user"))),
    "no tenant": signed_in(**claims(("oid", ANN), ("roles", "user"))),
    "nobody": signed_in(**claims(("tid", TENANT), ("roles", "user"))),
    "two people": signed_in(**claims(("tid", TENANT), ("oid", ANN), ("oid", OTHER), ("roles", "user"))),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_principal_that_is_not_one_is_refused(azure: House, case: str):
    answer = await azure.http.get("/api/sessions", headers=MALFORMED[case])
    assert answer.status_code == 401, answer.text
    page = await azure.http.get("/", headers=MALFORMED[case] | HTML)
    assert page.status_code == 401, "to sign in again would only lead back here"


async def test_two_headers_are_not_a_choice(azure: House):
    [(name, ann)], [(_, bob)] = signed_in("user").items(), signed_in("admin", oid=OTHER).items()
    answer = await azure.http.get("/api/sessions", headers=[(name, ann), (name, bob)])
    assert answer.status_code == 401


async def test_who_has_no_role_is_refused_in_words_unless_none_is_required(azure: House, tenant: Issuer):
    for roles in ([], ["Task.Read"], ["Admin"]):
        answer = await azure.http.get("/api/sessions", headers=signed_in(*roles))
        assert answer.status_code == 403
        assert "'user'" in answer.json()["detail"]
        page = await azure.http.get("/", headers=signed_in(*roles) | HTML)
        assert (page.status_code, "no role" in page.text) == (403, True)
    entra = replace(tenant.entra, role_required=False)
    open_house = moved(azure, replace(azure.services, settings=replace(azure.services.settings, entra=entra)))
    begun = await open_house.http.post("/api/sessions", json=BODY, headers=signed_in() | SITE)
    assert begun.status_code == 202
    assert begun.json().get("durable") is None


# --- other sites ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site", "status"),
    [
        (SITE, 202),
        ({"Origin": "https://NIGHTSHIFT.example"}, 202),
        ({"Host": "front.door.internal", "Origin": "https://nightshift.example"}, 202),
        ({"Host": "own.example", "Origin": "https://own.example"}, 202),
        ({}, 202),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "http://nightshift.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": ""}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Sec-Fetch-Site": "same-site"}, 401),
        (SITE | {"Origin": "https://evil.example"}, 401),
    ],
)
async def test_another_site_in_the_users_browser_changes_nothing(azure: House, site: dict[str, str], status: int):
    answer = await azure.http.post("/api/sessions", json=BODY, headers=signed_in("user") | site)
    assert answer.status_code == status
    assert bool(azure.stored()) is (status == 202)
    made = await azure.http.post("/api/keys", json={}, headers=signed_in("user") | site)
    assert made.status_code == (201 if status == 202 else 401)


# --- pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/?cursor=a%26b", "/sessions/s-1", "/sessions/a%3Fb%20%5C%5Cevil.example"])
async def test_a_browser_is_sent_to_sign_in_and_comes_back(azure: House, path: str):
    answer = await azure.http.get(path, headers=HTML)
    assert answer.status_code == 302
    where, _, back = answer.headers["Location"].partition("?post_login_redirect_uri=")
    assert where == "/.auth/login/aad"
    assert back == quote(path, safe="")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_programs_and_the_pages_own_javascript_get_a_problem(azure: House):
    for path in ("/", "/?fragment=true", "/sessions/s-1/fragment?after=0", "/api/sessions", "/api/keys"):
        answer = await azure.http.get(path, headers={"Accept": "application/json"})
        assert answer.status_code == 401
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await azure.http.get("/api/sessions", headers=HTML)).status_code == 401, "the API sends nobody anywhere"


async def test_a_wrong_credential_is_told_and_not_sent_to_sign_in(azure: House):
    answer = await azure.http.get("/", headers=HTML | {"X-API-Key": "ns_wrong"})
    assert answer.status_code == 401


async def test_without_sign_in_a_page_says_so(cloud: House):
    answer = await cloud.http.get("/", headers=HTML)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("text/html")


async def test_the_pages_are_for_the_person_who_signed_in(azure: House):
    begun = await azure.http.post("/api/sessions", json=BODY, headers=signed_in("user") | SITE)
    id = begun.json()["id"]
    for person, seen in (("user", True), ("admin", True)):
        page = (await azure.http.get("/", headers=signed_in(person) | HTML)).text
        assert (id in page, "Ann" in page, "/.auth/logout" in page) == (seen, True, True)
    assert "/.auth/logout" not in (await azure.http.get("/", headers=await azure.key("ann"))).text
    stranger = signed_in("user", oid=OTHER) | HTML
    assert id not in (await azure.http.get("/", headers=stranger)).text
    assert (await azure.http.get(f"/sessions/{id}", headers=stranger)).status_code == 404


@pytest.mark.parametrize("path", ["/nowhere", "/sessions/s-1/x", "/docs"])
async def test_where_nothing_is_a_browser_gets_a_page(cloud: House, path: str):
    page = await cloud.http.get(path, headers=HTML)
    assert page.status_code == 404
    assert page.headers["Content-Type"].startswith("text/html")
    assert "To the first page" in page.text
    assert (await cloud.http.get(path)).headers["Content-Type"] == "application/problem+json"
    for api in ("/api/nowhere", "/api/sessions/s-1/x"):
        assert (await cloud.http.get(api, headers=HTML)).headers["Content-Type"] == "application/problem+json"
