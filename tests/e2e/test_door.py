"""An agent in its sandbox gets nothing of the API that its user gets without a key."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta

import httpx
import psutil
import pytest

from nightshift.models import ItemKind
from nightshift.tokens import WorkerIdentity, issue
from tests.e2e.conftest import World
from worker import sandbox

ASK = (
    "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]));"
    " c.request(sys.argv[2], sys.argv[3], sys.argv[4] or None, dict(a.split('=', 1) for a in sys.argv[5:]));"
    " r = c.getresponse(); print('answer', r.status, r.headers['content-type'], r.read().decode())"
)


async def test_the_shell_cannot_act_as_the_user(world: World) -> None:
    if "WITHOUT" in sandbox.notice():
        pytest.skip(sandbox.notice())
    url = httpx.URL(world.client.url)
    start = f'!shell {sys.executable} -c "{ASK}" {url.port}'
    id = (await world.client.start("!say ready", None, None))["id"]
    generation = (await world.answered(id))["generation"]
    yes = json.dumps({"text": "Yes", "approves": "any"})
    key = (world.data / "signing_key").read_text().strip()
    token = issue(key, WorkerIdentity(id, generation), timedelta(hours=1))
    await world.client.send(
        id,
        f"{start} GET /api/sessions ''\n"
        f"{start} GET /api/sessions '' X-Caller-Namespace=ours Host=localhost\n"
        f"{start} POST /api/sessions/{id}/messages '{yes}' Content-Type=application/json\n"
        f"{start} POST /api/keys '{{}}' Content-Type=application/json\n"
        f"{start} GET / ''\n"
        f"{start} GET /runtime/webhooks/durabletask/instances ''\n"
        f"{start} GET /api/health ''\n"
        f"{start} GET /api/worker/session '' 'Authorization=Bearer {token}'\n",
    )
    await world.answered(id)
    items = (await world.client.items(id, 0)).items
    printed = [item.text for item in items if item.kind is ItemKind.TOOL_OUTPUT]
    answers = [(found[1], found[2]) for text in printed if (found := re.search(r"answer (\d+) (\S+)", text))]
    refused = ("403", "application/problem+json")
    assert answers[:4] == [refused] * 4, printed
    assert [status for status, _ in answers[4:]] == ["403", "401", "200", "200"], printed
    assert all("send a key as 'X-API-Key" in text for text in printed[:4])
    assert [item.text for item in items if item.kind is ItemKind.USER_MESSAGE if item.approves] == []
    async with httpx.AsyncClient(base_url=url) as http:
        for path in ("/api/sessions", "/api/keys", "/", "/runtime/webhooks/durabletask/instances"):
            assert (await http.get(path, follow_redirects=True)).status_code == 200
    listening = [each for each in psutil.Process(world.server.pid).net_connections("tcp") if each.status == "LISTEN"]
    assert [each.laddr.port for each in listening] == [url.port]
