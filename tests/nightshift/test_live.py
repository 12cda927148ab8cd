"""The live channel: by a key at the embedded host, by identity at a server that asks for what Web PubSub asks for."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from embedded.host import PUBSUB, Host
from nightshift.live import PubSubLive
from nightshift.models import Draft
from nightshift.testing.emulators.identity import Identity, self_signed, trust
from nightshift.testing.wire import Answer, Request, serve

WEB_APP = Path(__file__).parents[1] / "embedded" / "apps" / "web"


async def test_whoever_has_a_pages_url_hears_its_session_and_can_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PUBSUB, raising=False)
    host = Host(WEB_APP, "127.0.0.1", 0)
    await host.start()
    live = PubSubLive.by_key(os.environ[PUBSUB])
    try:
        url = await live.page_url("s-1")
        assert url is not None
        async with connect(url, subprotocols=[Subprotocol("json.webpubsub.azure.v1")]) as socket:
            assert json.loads(await socket.recv())["event"] == "connected"
            await live.hint("s-2", 8)
            await live.hint("s-1", 9)
            assert json.loads(await socket.recv())["data"] == {"session": "s-1", "seq": 9}
            draft = Draft(turn=1, id="1.r.0", kind="text", text="so far ")
            for seq in range(10, 30):
                await live.hint("s-1", seq)
            assert json.loads(await socket.recv())["data"] == {"session": "s-1", "seq": 29}, "the newest tells it all"
            await live.draft("s-2", draft)
            await live.draft("s-1", draft)
            assert json.loads(await socket.recv())["data"] == {"session": "s-1", "draft": draft.model_dump()}
            said = {"type": "sendToGroup", "group": "session-s-1", "data": 1, "dataType": "json", "ackId": 1}
            await socket.send(json.dumps(said))
            assert json.loads(await socket.recv())["success"] is False
    finally:
        await live.close()
        await host.stop()


async def test_in_azure_the_apps_identity_sends_and_makes_tokens_of_one_group(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    trust(certificate)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    asked: list[tuple[str, str, dict[str, str], bytes]] = []
    status, told = 200, asyncio.Event()

    async def answer(request: Request) -> Answer:
        url = urlsplit(request.target)
        token = jwt.decode(
            request.headers["authorization"].removeprefix("Bearer "), options={"verify_signature": False}
        )
        assert token["aud"] == "https://webpubsub.azure.com"
        asked.append((request.method, url.path, dict(parse_qsl(url.query)), request.body))
        if url.path.endswith(":send"):
            told.set()
        if status != 200:
            return Answer(status, {})
        return Answer(200, {"token": "of-a-page"}) if url.path.endswith(":generateToken") else Answer(202)

    server = await serve(answer, "127.0.0.1", 0, tls)
    port = server.sockets[0].getsockname()[1]
    live = PubSubLive.by_identity(f"https://127.0.0.1:{port}", Identity())
    try:
        url = f"wss://127.0.0.1:{port}/client/hubs/nightshift?access_token=of-a-page"
        assert await live.page_url("s-1") == url
        await live.hint("s-1", 9)
        async with asyncio.timeout(20):
            await told.wait()
        [(_, token_path, query, _), (_, send_path, _, body)] = asked
        assert token_path == "/api/hubs/nightshift/:generateToken"
        assert (query["group"], query["minutesToExpire"], query.get("role")) == ("session-s-1", "60", None)
        assert send_path == "/api/hubs/nightshift/groups/session-s-1/:send"
        assert json.loads(body) == {"session": "s-1", "seq": 9}
        status = 403  # the role is not assigned yet, or is gone
        assert await live.page_url("s-1") is None, "the page polls"
        await live.draft("s-1", Draft(turn=1, id="1.r.0", kind="text", text="so far "))
    finally:
        await live.close()
        server.close()
        server.close_clients()
        await server.wait_closed()
