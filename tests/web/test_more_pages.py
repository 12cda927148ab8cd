"""Cost, admin, timeline and the list's filters over HTTP: what they show, to whom, and that nothing in it can run."""

from __future__ import annotations

import csv
import io
import re

import pytest
from httpx import AsyncClient

from nightshift.keys import Scope, create_key
from nightshift.log import utc_now
from nightshift.models import (
    Approval,
    ControlKind,
    Effect,
    FileRef,
    ItemKind,
    NewControl,
    NewReport,
    ReportKind,
    Session,
    SessionRequest,
    Tokens,
    TurnUsage,
)
from nightshift.people import Preferences, Template, save_preferences
from nightshift.services import Services
from nightshift.spending import month_of
from tests.web.conftest import NewSession, Say

SCRIPT = "<script>alert(1)</script>"
FORMULA = "=HYPERLINK(1)"


async def spend(services: Services, model: str = "gpt-5.2", turn: int = 1, session: str = "s-1") -> None:
    tokens = Tokens(input=1_000_000, cached=500_000, output=10_000, calls=3)
    await services.log.record_usage(session, [TurnUsage(turn=turn, model=model, tokens=tokens)])


async def as_person(services: Services, name: str, *scopes: Scope) -> dict[str, str]:
    _, text = await create_key(services.store, name, scopes or (Scope.READ, Scope.WRITE))
    return {"X-API-Key": text}


async def test_the_bill_of_a_month_as_page_and_as_file(
    client: AsyncClient, services: Services, new_session: NewSession
) -> None:
    await new_session(title="Mend it")
    await spend(services)
    await spend(services, "mystery", 3)
    page = (await client.get("/cost")).text
    for part in ("Mend it", "gpt-5.2", "mystery", "unpriced", "and what has no price", "<rect"):
        assert part in page
    assert "Nothing was spent in 2020-01" in (await client.get("/cost", params={"month": "2020-01"})).text
    rows = list(csv.DictReader(io.StringIO((await client.get("/cost.csv")).text)))
    assert [(row["session"], row["model"], row["input"], bool(row["usd"])) for row in rows] == [
        ("s-1", "gpt-5.2", "1000000", True),
        ("s-1", "mystery", "1000000", False),
    ]
    await services.log.purge("s-1")
    page = (await client.get("/cost")).text
    assert "Deleted session" in page
    assert "gpt-5.2" in page


async def test_a_spreadsheet_is_handed_no_formula(
    client: AsyncClient, services: Services, new_session: NewSession
) -> None:
    await new_session()
    await spend(services, FORMULA)
    assert f"'{FORMULA}" in (await client.get("/cost.csv")).text


@pytest.mark.parametrize("month", ["2026-13", "x", "2026-11'"])
async def test_a_month_that_is_none_is_told(client: AsyncClient, month: str) -> None:
    answer = await client.get("/cost", params={"month": month})
    assert answer.status_code == 422
    assert "To the first page" in answer.text


async def test_everybody_sees_their_own_costs_and_keys(client: AsyncClient, services: Services) -> None:
    now = utc_now()
    request = SessionRequest(message="Ann's secret task")
    await services.log.create_session(Session(id="s-9", owner="ann", request=request, created_at=now, updated_at=now))
    await spend(services, session="s-9")
    ann, eve = await as_person(services, "ann"), await as_person(services, "eve")
    for path in ("/cost", "/cost.csv", "/sessions", "/sessions?owner=ann", "/sessions?q=secret", "/rail", "/settings"):
        assert "s-9" in (await client.get(path, headers=ann)).text, path
        mine = (await client.get(path, headers=eve)).text
        assert "s-9" not in mine, path
        assert "secret task" not in mine, path
    assert "ann" in (await client.get("/settings", headers=ann)).text
    assert ">ann<" not in (await client.get("/settings/keys", headers=eve)).text
    assert "s-9" in (await client.get("/sessions?owner=ann")).text
    assert month_of(now) in (await client.get("/cost", headers=ann)).text


async def test_the_admin_page_is_for_admins(client: AsyncClient, services: Services, new_session: NewSession) -> None:
    await new_session(phase="failed", title="It failed")
    await client.post("/api/sessions/s-1/stop")
    user = await as_person(services, "ann")
    for path in ("/admin", "/admin/now"):
        refused = await client.get(path, headers=user)
        assert refused.status_code == 403
        assert "session.stop" not in refused.text
    assert 'href="/admin"' not in (await client.get("/", headers=user)).text
    assert "session.stop" in (await client.get("/admin")).text
    assert "failed 1" in (await client.get("/admin/now")).text
    assert "No machine is there" in (await client.get("/admin/now")).text
    for name in ("Store", "Files", "Task hub", "Machines"):
        assert re.search(rf'badge ok">{name} <small>\d+ ms', (await client.get("/admin/now")).text), name


async def test_the_admin_page_says_what_does_not_answer(
    client: AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(session_id: str) -> list[str]:
        raise OSError("a secret path")

    monkeypatch.setattr(services.blobs, "list", away)
    text = (await client.get("/admin/now")).text
    assert re.search(r'badge failed">Files <small>does not answer', text)
    assert 'badge ok">Store' in text
    assert "secret path" not in text


async def test_the_timeline_tells_who_steered_and_what_was_reported(
    client: AsyncClient, services: Services, new_session: NewSession
) -> None:
    await new_session()
    for kind in (ReportKind.STARTED, ReportKind.FAILED):
        await services.log.append_report("s-1", NewReport(kind=kind, generation=2, detail=f"because {SCRIPT}"))
    for kind in ControlKind:
        await services.log.append_control("s-1", NewControl(kind=kind))
    text = (await client.get("/sessions/s-1/timeline")).text
    places = [text.index(words) for words in ("Deletion asked for", "Turn failed", "machine start 2", "Session begun")]
    assert places == sorted(places)
    assert SCRIPT not in text


@pytest.mark.parametrize("language", ["en", "ja"])
async def test_hostile_names_are_harmless_on_every_page(
    client: AsyncClient, services: Services, new_session: NewSession, say: Say, language: str
) -> None:
    client.cookies.set("nightshift_language", language)
    client.cookies.set("nightshift_theme", SCRIPT)
    await new_session(title=SCRIPT, stage=SCRIPT)
    file = FileRef(name="0" * 64, filename=SCRIPT.replace("/", "-"), size=1)
    ask = Effect(approval=Approval(action=SCRIPT, reason=SCRIPT))
    await say(ItemKind.USER_MESSAGE, SCRIPT, author=SCRIPT, model=SCRIPT, files=[file])
    await say(
        ItemKind.TOOL_CALL, name=SCRIPT, arguments=f'{{"old": "{SCRIPT}", "new": "", "path": "{SCRIPT}"}}', call_id="c"
    )
    await say(ItemKind.TOOL_OUTPUT, SCRIPT, call_id="c", effect=ask, files=[file])
    await say(ItemKind.NOTICE, SCRIPT, code=SCRIPT)
    await spend(services, SCRIPT)
    template = Template(name=SCRIPT, message=SCRIPT)
    await save_preferences(services.store, "local", Preferences(prompt=f"</textarea>{SCRIPT}", templates=[template]))
    hostile = {"q": f'"{SCRIPT}', "repository": SCRIPT, "model": SCRIPT, "owner": SCRIPT}
    for path in (
        "/",
        "/sessions",
        "/sessions/s-1",
        "/sessions/s-1/items/2",
        "/cost",
        "/settings",
        "/admin",
        "/admin/now",
    ):
        answer = await client.get(path, params=hostile if path == "/sessions" else None)
        assert answer.status_code == 200, path
        assert "<script>" not in answer.text, path
        assert "<scr" not in answer.text.replace('<script type="module" src="/static/', ""), path


async def test_filters_stay_in_the_form_and_in_the_links(client: AsyncClient, new_session: NewSession) -> None:
    for number in range(40):
        await new_session(f"s-{number}", f"Task {number}")
    page = (await client.get("/sessions", params={"q": "TASK", "phase": "working", "repository": ""})).text
    assert 'value="TASK"' in page
    assert 'value="working" selected' in page
    assert "/sessions?q=TASK&amp;phase=working&amp;cursor=" in page
    assert (await client.get("/sessions", params={"phase": "flying"})).status_code == 400


async def test_the_order_of_the_list_is_in_the_links_and_remembered(
    client: AsyncClient, services: Services, new_session: NewSession
) -> None:
    for number, usd in enumerate((0.5, 12, 0.07, 9)):
        await new_session(f"s-{number}", f"Task {number}", title=f"{'dbca'[number]} task", usage={"cost_usd": usd})

    async def ids(**asked: str) -> list[str]:
        return re.findall(
            r'<li class="[^"]*" data-session="([^"]+)"', (await client.get("/sessions", params=asked)).text
        )

    assert await ids() == ["s-3", "s-2", "s-1", "s-0"]
    assert await ids(order="cost", phase="working") == ["s-1", "s-3", "s-0", "s-2"]
    assert await ids() == ["s-1", "s-3", "s-0", "s-2"]
    assert await ids(order="title") == ["s-3", "s-1", "s-2", "s-0"]
    await services.log.project("s-2", 2, {"stage": "now"})
    assert (await ids(order="active"))[0] == "s-2"
    listed = (await client.get("/api/sessions", params={"order": "cost", "limit": 1})).json()
    rest = (await client.get("/api/sessions", params={"order": "cost", "cursor": listed["next_cursor"]})).json()
    assert [each["id"] for each in listed["sessions"] + rest["sessions"]] == ["s-1", "s-3", "s-0", "s-2"]
    assert (await client.get("/sessions", params={"order": "colour"})).status_code == 422
    for number in range(4, 40):
        await new_session(f"s-{number}", f"Task {number}")
    page = (await client.get("/sessions", params={"order": "cost", "q": "task"})).text
    assert "/sessions?q=task&amp;order=cost&amp;cursor=" in page
    assert '<option value="cost" selected' in page


async def test_a_fragment_that_the_browser_has_is_not_sent_again(client: AsyncClient, new_session: NewSession) -> None:
    await new_session()
    first = await client.get("/rail")
    again = await client.get("/rail", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_page_comes_compressed(client: AsyncClient) -> None:
    answer = await client.get("/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
