"""Looking at sessions, talking to them and steering them."""

from __future__ import annotations

import asyncio

import pytest

from nightshift.log import Log
from nightshift.models import ControlKind, Failure, Item, ItemKind, NewItem, Phase, Stream
from tests.api.house import House


async def test_a_session_is_shown_with_what_its_orchestration_wrote(house: House):
    session_id = await house.begin("  First line\nsecond line", repository="acme/tidytime")
    failure = Failure(stage="booting", reason="No quota", advice="Ask for more")
    changes = {"phase": Phase.FAILED, "stage": "booting", "generation": 2, "failure": failure.model_dump()}
    await house.services.log.project(session_id, 1, changes)
    view = (await house.http.get(f"/api/sessions/{session_id}")).json()

    assert view["title"] == "First line"
    assert view["repository"] == "acme/tidytime"
    assert view["model"] == house.services.settings.model
    assert (view["phase"], view["stage"], view["generation"]) == ("failed", "booting", 2)
    assert view["failure"]["advice"] == "Ask for more"
    assert view["usage"]["cost_usd"] == 0
    assert view["durable"]
    assert "request" not in view


async def test_a_plan_is_asked_for_with_the_session_and_with_messages(house: House):
    session_id = await house.begin("Add a login", plan=True)
    for body in ({"text": "Yes", "approves": "call-1"}, {"text": "x", "plan": False}, {"text": "x", "plan": True}):
        assert (await house.http.post(f"/api/sessions/{session_id}/messages", json=body)).status_code == 202
    items = (await house.http.get(f"/api/sessions/{session_id}/items")).json()["items"]
    assert [(item["plan"], item["approves"]) for item in items] == [
        (True, None),
        (None, "call-1"),
        (False, None),
        (True, None),
    ]


async def test_a_title_is_the_agents_else_the_requests_else_the_first_line(house: House):
    long, named = await house.begin("x" * 200), await house.begin("text", title="Named")
    agent = await house.begin("text", title="Named")
    await house.services.log.project(agent, 1, {"title": "By the agent"})
    titles = [(await house.http.get(f"/api/sessions/{each}")).json()["title"] for each in (long, named, agent)]
    assert titles == ["x" * 80, "Named", "By the agent"]


async def test_sessions_are_listed_newest_first_in_pages(house: House):
    begun = [await house.begin(f"number {number}") for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await house.http.get("/api/sessions", params=query)).json()
        assert len(page["sessions"]) <= 2
        seen += [session["id"] for session in page["sessions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == begun[::-1]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=nonsense", "cursor=%00"])
async def test_a_bad_page_is_refused(house: House, query: str):
    answer = await house.http.get(f"/api/sessions?{query}")
    assert answer.status_code in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_person_lists_and_opens_only_their_own(house: House):
    ann, bob = await house.key("ann"), await house.key("bob")
    mine: list[str] = []
    for number in range(6):
        headers = ann if number % 2 else bob
        answer = await house.http.post("/api/sessions", json={"message": str(number)}, headers=headers)
        assert answer.json()["durable"] is None
        if headers is ann:
            mine.append(answer.json()["id"])
    page = (await house.http.get("/api/sessions?limit=3", headers=ann)).json()
    assert [session["id"] for session in page["sessions"]] == mine[::-1]

    path, before, rung = f"/api/sessions/{mine[0]}", house.stored(), list(house.bells.rung)
    requests = [("GET", ""), ("GET", "/items"), ("GET", "/live"), ("DELETE", ""), ("POST", "/messages")]
    requests += [("POST", f"/{word}") for word in ("interrupt", "stop", "resume")]
    for method, rest in requests:
        body = {"text": "hi"} if rest == "/messages" else None
        answer = await house.http.request(method, path + rest, json=body, headers=bob)
        assert answer.status_code == 404, (method, rest)
        assert answer.json()["detail"] == f"There is no session '{mine[0]}'"
    assert house.stored() == before
    assert house.bells.rung == rung
    assert (await house.http.get(path)).json()["durable"], "an admin sees everybody's"


async def test_ones_own_sessions_come_in_full_pages_however_many_others_there_are(house: House):
    ann, mine = await house.key("ann"), list[str]()
    for number in range(120):
        headers = ann if number % 40 < 2 else None
        begun = await house.http.post("/api/sessions", json={"message": str(number)}, headers=headers)
        mine += [begun.json()["id"]] if headers else []
    first = (await house.http.get("/api/sessions?limit=4", headers=ann)).json()
    rest = (await house.http.get("/api/sessions", params={"cursor": first["next_cursor"]}, headers=ann)).json()
    assert [session["id"] for session in first["sessions"]] == mine[:1:-1]
    assert [session["id"] for session in rest["sessions"]] == mine[1::-1]
    assert rest["next_cursor"] is None


async def test_a_message_is_stored_then_rung_then_hinted(house: House):
    session_id = await house.begin()
    answer = await house.http.post(f"/api/sessions/{session_id}/messages", json={"text": " more "})

    assert answer.status_code == 202
    item = (await house.services.log.items(session_id))[1]
    assert answer.json() == {"id": item.id, "seq": 2}
    assert (item.text, item.author, item.kind) == (" more ", "local", ItemKind.USER_MESSAGE)
    assert house.bells.rung == [(session_id, "user_message")]
    assert house.hints.given == [(session_id, 2)]


async def test_a_message_with_a_key_is_said_once(house: House):
    session_id = await house.begin()
    path, headers = f"/api/sessions/{session_id}/messages", {"Idempotency-Key": "m 1"}
    answers = await asyncio.gather(*(house.http.post(path, json={"text": "once"}, headers=headers) for _ in range(10)))
    assert {(answer.status_code, answer.json()["seq"]) for answer in answers} == {(202, 2)}
    other = await house.http.post(path, json={"text": "other"}, headers=headers)
    assert other.status_code == 409
    assert len(await house.services.log.items(session_id)) == 2


async def test_messages_at_once_get_seqs_without_gaps(house: House):
    session_id = await house.begin()
    path = f"/api/sessions/{session_id}/messages"
    answers = await asyncio.gather(*(house.http.post(path, json={"text": f"m {n}"}) for n in range(30)))
    assert sorted(answer.json()["seq"] for answer in answers) == list(range(2, 32))
    assert [item.seq for item in await house.services.log.items(session_id)] == list(range(1, 32))


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.STOPPED, Phase.STOPPING, Phase.WAITING])
async def test_a_message_is_taken_in_every_living_phase(house: House, phase: Phase):
    session_id = await house.begin()
    await house.services.log.project(session_id, 1, {"phase": phase})
    answer = await house.http.post(f"/api/sessions/{session_id}/messages", json={"text": "go on"})
    assert answer.status_code == 202


@pytest.mark.parametrize("phase", [Phase.DELETING, Phase.DELETED])
async def test_a_session_on_its_way_out_takes_only_delete(house: House, phase: Phase):
    session_id = await house.begin()
    await house.services.log.project(session_id, 1, {"phase": phase})
    before = house.stored()
    path = f"/api/sessions/{session_id}"
    answers = [await house.http.post(f"{path}/messages", json={"text": "wait"})]
    answers += [await house.http.post(f"{path}/{word}") for word in ("interrupt", "stop", "resume")]
    assert {answer.status_code for answer in answers} == {409}
    assert "being deleted" in answers[0].json()["detail"]
    assert house.stored() == before
    assert (await house.http.delete(path)).status_code == 202


@pytest.mark.parametrize("kind", [kind for kind in ControlKind if kind is not ControlKind.BUDGET])
async def test_a_control_is_stored_then_rung(house: House, kind: ControlKind):
    session_id = await house.begin()
    path = f"/api/sessions/{session_id}"
    method, path = ("DELETE", path) if kind is ControlKind.DELETE else ("POST", f"{path}/{kind}")
    headers = {"Idempotency-Key": "press"}
    body = {"budget_usd": 5} if kind is ControlKind.BUDGET else None
    answers = [await house.http.request(method, path, headers=headers, json=body) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    [control] = await house.services.log.controls(session_id)
    assert answers[0].json() == answers[1].json() == {"id": control.id, "seq": 1}
    assert (control.kind, control.at_seq, control.author) == (kind, 1, "local")
    assert set(house.bells.rung) == {(session_id, "control")}


async def test_a_key_of_one_control_is_not_good_for_another(house: House):
    path, headers = f"/api/sessions/{await house.begin()}", {"Idempotency-Key": "press"}
    await house.http.post(f"{path}/stop", headers=headers)
    assert (await house.http.post(f"{path}/resume", headers=headers)).status_code == 409


async def test_a_deleted_session_is_not_there(house: House):
    session_id = await house.begin()
    await house.services.log.purge(session_id)
    path = f"/api/sessions/{session_id}"
    for answer in (await house.http.delete(path), await house.http.get(path), await house.http.get(f"{path}/items")):
        assert answer.status_code == 404
    assert house.stored() == []


@pytest.mark.parametrize("session_id", ["s-00000000000000000000", "keys", "..", "%00", "x" * 500, "a b"])
async def test_an_unknown_id_is_not_found(house: House, session_id: str):
    answer = await house.http.post(f"/api/sessions/{session_id}/messages", json={"text": "hi"})
    assert answer.status_code == 404
    assert house.stored() == []


async def test_items_are_read_from_where_one_stands(house: House):
    session_id = await house.begin()
    for number in range(4):
        item = NewItem(kind=ItemKind.REASONING, text=str(number), raw={"encrypted": "x"})
        await house.services.log.append_item(session_id, item)
    page = (await house.http.get(f"/api/sessions/{session_id}/items?after=1&limit=2")).json()
    assert [item["seq"] for item in page["items"]] == [2, 3]
    assert page["last_seq"] == 5
    assert "raw" not in page["items"][0]
    assert "controls" not in page
    rest = (await house.http.get(f"/api/sessions/{session_id}/items?after=5")).json()
    assert rest == {"items": [], "last_seq": 5}


@pytest.mark.parametrize("query", ["after=-1", "limit=0", "limit=201", "wait=26", "wait=-1", "wait=nan", "after=1e9"])
async def test_a_bad_place_to_read_from_is_refused(house: House, query: str):
    answer = await house.http.get(f"/api/sessions/{await house.begin()}/items?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


class _Watched(Log):
    """Tells when somebody has looked for items and found none."""

    def __init__(self, log: Log) -> None:
        self.__dict__.update(log.__dict__)
        self.in_vain = asyncio.Event()

    async def items(self, session_id: str, after: int = 0, limit: int = 200) -> list[Item]:
        found = await super().items(session_id, after, limit)
        if not found:
            self.in_vain.set()
        return found


async def test_a_long_poll_wakes_on_an_append(house: House):
    session_id = await house.begin()
    watched = _Watched(house.services.log)
    object.__setattr__(house.services, "log", watched)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:  # less than it may wait: waking is what ends it
        reading = group.create_task(house.http.get(f"/api/sessions/{session_id}/items?after=1&wait=25"))
        await watched.in_vain.wait()
        await house.http.post(f"/api/sessions/{session_id}/messages", json={"text": "news"})
    assert [item["text"] for item in reading.result().json()["items"]] == ["news"]


async def test_without_a_live_channel_there_is_no_url(house: House):
    answer = await house.http.get(f"/api/sessions/{await house.begin()}/live")
    assert answer.json() == {"url": None}


async def test_delete_on_a_session_that_never_began_still_reaches_an_orchestration(house: House):
    session_id = await house.begin()
    house.bells.started.clear()
    await house.http.delete(f"/api/sessions/{session_id}")
    assert house.bells.started == [session_id]
    assert await house.services.log.last_seq(session_id, Stream.CONTROL) == 1
