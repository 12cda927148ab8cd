"""A person is told by their browser: the whole product, and a push service that checks and decrypts what comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.e2e.conftest import PATIENCE, whole
from tests.pushservice import push_service


async def test_a_browser_is_told_of_an_answer_and_of_a_question(tmp_path: Path) -> None:
    with push_service() as service:
        async with whole(tmp_path, NIGHTSHIFT_PUSH_SERVICES=service.origin) as world:
            async with httpx.AsyncClient(base_url=world.client.url) as http:
                browser = service.subscribe((await http.get("/api/devices")).json()["key"])
                answer = await http.put("/api/devices", json={"subscription": browser.subscription.model_dump()})
                assert answer.status_code == 200, answer.text
            done = (await world.client.start("!say All is well", None, None))["id"]
            asks = (await world.client.start("!shell cat ~/.netrc\n!say done", None, None))["id"]
            async with asyncio.timeout(PATIENCE):
                while len(browser.got) < 2:
                    await asyncio.sleep(0.05)
    told = {each["url"]: each["body"] for each in browser.got}
    assert told == {
        f"/sessions/{done}": "Done: it has an answer for you",
        f"/sessions/{asks}": "Wants your yes before it goes on",
    }
    assert browser.endpoint not in (tmp_path / "server.log").read_text("utf-8")
