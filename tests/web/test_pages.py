"""The pages over HTTP on a real store."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from httpx import AsyncClient

from api.pages.assets import assets
from api.pages.items import ITEMS
from api.pages.sessions import SESSIONS
from api.pages.templates import cost, short
from nightshift.models import ItemKind, PullRequest, Tokens, UsageTotal
from nightshift.services import Services
from tests.web.conftest import NewSession, Say

SCRIPT = "<script>alert(1)</script>"


def seqs(html: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'data-seq="(\d+)"', html)]


def listed(html: str) -> str:
    """The page without its rail, which has the newest sessions whatever the page is about."""
    return html[html.index("<main") :]


async def test_an_empty_list_tells_what_to_do(client: AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert "No sessions yet" in answer.text
    assert "What should be done?" in answer.text


async def test_pages_allow_no_inline_code(client: AsyncClient, new_session: NewSession) -> None:
    await new_session()
    for path in ("/", "/sessions/s-1", "/sessions/nope"):
        answer = await client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]*src=)|\sstyle=|<style|\son\w+=", answer.text)


async def test_the_list_pages_through_all_sessions(client: AsyncClient, new_session: NewSession) -> None:
    for number in range(SESSIONS + 1):
        await new_session(f"s-{number}", f"Task {number}")
    first = listed((await client.get("/sessions")).text)
    assert f"Task {SESSIONS}" in first
    assert ">Task 0<" not in first
    older = re.search(r'href="(/sessions\?cursor=[^"]+)"', first)
    assert older
    assert ">Task 0<" in listed((await client.get(older[1])).text)


async def test_a_made_up_cursor_gets_a_page_that_says_so(client: AsyncClient) -> None:
    answer = await client.get("/sessions", params={"cursor": "nonsense"})
    assert answer.status_code == 400
    assert "To the first page" in answer.text


async def test_the_list_as_a_fragment(client: AsyncClient, new_session: NewSession) -> None:
    await new_session(message="Mend it")
    answer = await client.get("/sessions", params={"fragment": True})
    assert "Mend it" in answer.text
    assert "<html" not in answer.text


async def test_hostile_text_is_harmless_everywhere(client: AsyncClient, new_session: NewSession, say: Say) -> None:
    pull = PullRequest(repository=SCRIPT, number=1, url="javascript:alert(1)", title=f'"{SCRIPT}', branch=SCRIPT)
    failure = {"stage": SCRIPT, "reason": SCRIPT, "advice": SCRIPT}
    todo = [{"text": SCRIPT, "status": "in_progress"}]
    await new_session(
        title=SCRIPT, stage=SCRIPT, todo=todo, failure=failure, pull_requests=[pull.model_dump()], message=SCRIPT
    )
    await say(ItemKind.USER_MESSAGE, SCRIPT, author=SCRIPT)
    await say(ItemKind.ASSISTANT_MESSAGE, f"{SCRIPT} [x](javascript:alert(1))")
    await say(ItemKind.REASONING, SCRIPT)
    await say(ItemKind.TOOL_CALL, name=SCRIPT, arguments=f'{{"command": "{SCRIPT}"}}', call_id="c")
    await say(ItemKind.TOOL_OUTPUT, SCRIPT, call_id="c")
    await say(ItemKind.TOOL_OUTPUT, SCRIPT, call_id="nobody's", name=SCRIPT)
    await say(ItemKind.NOTICE, SCRIPT)
    for path in ("/", "/sessions/s-1"):
        text = (await client.get(path)).text
        assert "<script>" not in text
        assert 'href="javascript' not in text
    fragment = (await client.get("/sessions/s-1/fragment")).json()
    assert "<script>" not in "".join(fragment[name] for name in ("html", "head_html", "panel_html"))


async def test_the_header_shows_money_and_never_zero_for_unpriced(client: AsyncClient, new_session: NewSession) -> None:
    usage = UsageTotal(
        tokens=Tokens(input=1000, cached=750, output=500, calls=1), cost_usd=None, unpriced=["mystery-1"]
    )
    await new_session(usage=usage.model_dump(), generation=2)
    text = (await client.get("/sessions/s-1")).text
    for part in ('<dd title="250">250</dd>', "75%", "unpriced", "mystery-1", "start 2"):
        assert part in text


async def test_a_fragment_brings_what_is_new(client: AsyncClient, new_session: NewSession, say: Say) -> None:
    await new_session()
    await say(ItemKind.USER_MESSAGE, "one")
    await say(ItemKind.ASSISTANT_MESSAGE, "two")
    fragment = (await client.get("/sessions/s-1/fragment", params={"after": 1})).json()
    assert seqs(fragment["html"]) == [2]
    assert (fragment["last_seq"], fragment["more"], fragment["phase"]) == (2, False, "working")
    nothing = (await client.get("/sessions/s-1/fragment", params={"after": 2})).json()
    assert (nothing["html"].strip(), nothing["last_seq"]) == ("", 2)


async def test_a_late_output_brings_its_call_again(client: AsyncClient, new_session: NewSession, say: Say) -> None:
    await new_session()
    await say(ItemKind.TOOL_CALL, name="shell", arguments='{"command": "make"}', call_id="c")
    for _ in range(ITEMS + 10):
        await say(ItemKind.NOTICE, "meanwhile")
    after = (await say(ItemKind.TOOL_OUTPUT, "built", call_id="c")).seq - 1
    fragment = (await client.get("/sessions/s-1/fragment", params={"after": after})).json()
    assert seqs(fragment["html"]) == [1]
    assert "built" in fragment["html"]
    assert fragment["last_seq"] == after + 1


async def test_the_newest_items_come_first_and_older_ones_on_demand(
    client: AsyncClient, new_session: NewSession, say: Say
) -> None:
    await new_session()
    for number in range(ITEMS + 5):
        await say(ItemKind.NOTICE, f"notice {number}")
    assert seqs((await client.get("/sessions/s-1")).text) == list(range(6, ITEMS + 6))
    older = (await client.get("/sessions/s-1/fragment", params={"before": 6})).json()
    assert seqs(older["html"]) == [1, 2, 3, 4, 5]
    assert (older["first_seq"], older["more"]) == (1, False)


@pytest.mark.parametrize("path", ["/sessions/nope", "/static/0/nope.js"])
async def test_a_browser_that_went_astray_gets_a_page(client: AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "Not found" in answer.text
    assert 'href="/"' in answer.text


async def test_javascript_that_went_astray_gets_a_problem(client: AsyncClient) -> None:
    answer = await client.get("/sessions/nope/fragment", headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_stranger_gets_no_page(client: AsyncClient, new_session: NewSession) -> None:
    await new_session(message="Secret plan")
    for path in ("/", "/sessions/s-1", "/sessions/s-1/fragment"):
        answer = await client.get(path, headers={"Host": "evil.example"})
        assert answer.status_code == 401
        assert "Secret plan" not in answer.text


async def test_static_files_are_cached_by_version(client: AsyncClient) -> None:
    page = (await client.get("/")).text
    links = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))
    assert len(links) > 4
    for link in links:
        assert "immutable" in (await client.get(link)).headers["cache-control"]
    answer = await client.get("/static/of-an-earlier-deployment/app.css")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    again = await client.get("/static/0/app.css", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_every_module_that_is_imported_is_there_and_fetched_at_once(
    client: AsyncClient, new_session: NewSession
) -> None:
    """Without a preload a browser would find the modules one round trip after the other."""
    await new_session()
    for path in ("/", "/sessions", "/sessions/s-1"):
        page = (await client.get(path)).text
        preloaded = set(re.findall(r'modulepreload" href="/static/\w+/([^"]+)"', page))
        wanted = set(re.findall(r'src="/static/\w+/([^"]+)"', page))
        while more := {name for each in wanted for name in imports(each)} - wanted:
            wanted |= more
        assert wanted == preloaded, path


def imports(module: str) -> list[str]:
    return re.findall(r"from '\./([^']+)'", assets()[module].content.decode())


@pytest.mark.parametrize("name", ["../templates/base.html", "..%2Ftemplates%2Fbase.html", "%2e%2e/api.py", "."])
async def test_static_files_are_those_of_the_folder_only(client: AsyncClient, name: str) -> None:
    assert (await client.get(f"/static/0/{name}")).status_code == 404


async def test_the_scripts_of_each_page_are_small(client: AsyncClient, new_session: NewSession) -> None:
    await new_session()
    for path in ("/", "/sessions", "/sessions/s-1", "/cost", "/settings", "/admin"):
        preloaded = re.findall(r'modulepreload" href="/static/\w+/([^"]+)"', (await client.get(path)).text)
        assert preloaded
        assert sum(len(assets()[name].content) for name in preloaded) < 40_000, path


@pytest.mark.parametrize(
    ("usd", "text"), [(None, "unpriced"), (0.0, "$0.00"), (0.004, "<$0.01"), (1234.5, "$1,234.50")]
)
def test_cost(usd: float | None, text: str) -> None:
    assert cost(UsageTotal(cost_usd=usd)) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (1500, "1.5k"), (2_000_000, "2M")])
def test_short(count: int, text: str) -> None:
    assert short(count) == text


async def test_an_item_of_this_store_is_shown(client: AsyncClient, services: Services, new_session: NewSession) -> None:
    """The first message, stored by the API itself, is on the page of a session begun through it."""
    answer = await client.post("/api/sessions", json={"message": "Say hello"})
    page = answer.json()["links"]["page"]
    assert "Say hello" in (await client.get(page)).text


async def test_a_session_says_which_of_its_first_files_it_waits_for(client: AsyncClient) -> None:
    content = b"a picture"
    file = {"name": sha256(content).hexdigest(), "filename": "pict<ure>.png", "size": len(content)}
    begun = (await client.post("/api/sessions", json={"message": "Look at it", "files": [file]})).json()
    page = (await client.get(begun["links"]["page"])).text
    assert "begins when these files are there" in page
    assert "<li>pict&lt;ure&gt;.png</li>" in page
    assert (await client.put(begun["links"]["files"], params={"filename": "a.png"}, content=content)).status_code < 300
    page = (await client.get(begun["links"]["page"])).text
    assert "begins when these files are there" not in page
    assert "Look at it" in page
