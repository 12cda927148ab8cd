"""The stand-in against Azure's own service client and a plain WebSocket client."""

import json
import os
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AsyncioRequestsTransport
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from embedded.host import PUBSUB
from tests.embedded.conftest import Serve

PROTOCOL = [Subprotocol("json.webpubsub.azure.v1")]


def service_for(hub: str, text: str = "") -> Any:  # the library is only partly typed
    return WebPubSubServiceClient.from_connection_string(
        text or os.environ[PUBSUB], hub, transport=AsyncioRequestsTransport()
    )


async def url(service: Any, **claims: Any) -> str:
    return (await service.get_client_access_token(**claims))["url"]


async def hear(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(await socket.recv())


async def ask(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    await socket.send(json.dumps(message))
    return await hear(socket)


async def test_groups_of_the_token_are_joined_and_heard(serve: Serve) -> None:
    await serve("web")
    async with (
        service_for("chat") as service,
        connect(await url(service, user_id="ada", groups=["g1"]), subprotocols=PROTOCOL) as socket,
    ):
        connected = await hear(socket)
        assert (connected["type"], connected["event"], connected["userId"]) == ("system", "connected", "ada")
        await service.send_to_group("other", {"no": 1}, content_type="application/json")
        await service.send_to_group("g1", {"seq": 5}, content_type="application/json")
        assert await hear(socket) == {
            "type": "message",
            "from": "group",
            "group": "g1",
            "dataType": "json",
            "data": {"seq": 5},
        }
        await service.send_to_all("all of you", content_type="text/plain")
        assert await hear(socket) == {"type": "message", "from": "server", "dataType": "text", "data": "all of you"}
        await service.send_to_group("g1", b"\x00\xff", content_type="application/octet-stream")
        assert (await hear(socket))["data"] == "AP8="
        await service.send_to_all("not you", content_type="text/plain", excluded=[connected["connectionId"]])
        assert await ask(socket, type="ping") == {"type": "pong"}


async def test_roles_are_enforced(serve: Serve) -> None:
    await serve("web")
    roles = ["webpubsub.joinLeaveGroup.open", "webpubsub.sendToGroup.open"]
    async with (
        service_for("chat") as service,
        connect(await url(service, roles=roles), subprotocols=PROTOCOL) as socket,
    ):
        await hear(socket)
        assert await ask(socket, type="joinGroup", group="open", ackId=1) == {
            "type": "ack",
            "ackId": 1,
            "success": True,
        }
        refused = await ask(socket, type="joinGroup", group="closed", ackId=2)
        assert (refused["success"], refused["error"]["name"]) == (False, "Forbidden")
        sent = {"type": "sendToGroup", "group": "open", "dataType": "text", "data": "hi", "ackId": 3}
        assert (await ask(socket, **sent))["data"] == "hi"
        assert (await hear(socket))["success"] is True
        assert (await ask(socket, **(sent | {"noEcho": True})))["type"] == "ack"
        assert (await ask(socket, type="event", event="x", dataType="text", data="", ackId=4))["success"] is False
        assert (await ask(socket, type="leaveGroup", group="open", ackId=5))["success"] is True
        await service.send_to_group("open", "unheard", content_type="text/plain")
        assert await ask(socket, type="ping") == {"type": "pong"}


async def test_a_client_without_subprotocol_hears_bare_data(serve: Serve) -> None:
    await serve("web")
    async with service_for("chat") as service, connect(await url(service, groups=["g"])) as socket:
        await service.send_to_group("g", {"a": 1}, content_type="application/json")
        assert json.loads(await socket.recv()) == {"a": 1}
        await service.send_to_group("g", b"\x01", content_type="application/octet-stream")
        assert await socket.recv() == b"\x01"


async def test_a_malformed_message_ends_the_connection(serve: Serve) -> None:
    await serve("web")
    async with service_for("chat") as service, connect(await url(service), subprotocols=PROTOCOL) as socket:
        await hear(socket)
        assert (await ask(socket, nonsense=True))["event"] == "disconnected"
        with pytest.raises(ConnectionClosed):
            await socket.recv()


@pytest.mark.parametrize("broken", ["expired", "other hub", "other key", "none"])
async def test_bad_tokens_are_refused(serve: Serve, broken: str) -> None:
    client = await serve("web")
    async with service_for("chat") as service, service_for("other") as other:
        good = await url(service)
        urls = {
            "expired": await url(service, minutes_to_expire=-1),
            "other hub": good.split("?")[0] + "?" + (await url(other)).split("?")[1],
            "other key": good[:-6] + "AAAAAA",
            "none": good.split("?")[0],
        }
        with pytest.raises(InvalidStatus) as refused:
            await connect(urls[broken])
        assert refused.value.response.status_code == 401
    assert (await client.post("/api/hubs/chat/:send", json={})).status_code == 401


async def test_a_sender_with_another_key_is_refused(serve: Serve) -> None:
    client = await serve("web")
    text = f"Endpoint=http://127.0.0.1;Port={client.base_url.port};AccessKey={'x' * 32};Version=1.0;"
    async with service_for("chat", text) as service:
        with pytest.raises(HttpResponseError) as refused:
            await service.send_to_all("x", content_type="text/plain")
    assert refused.value.status_code == 401


async def test_functions_have_no_websockets(serve: Serve) -> None:
    client = await serve("web")
    for path in ("api/echo", "nowhere"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{client.base_url.port}/{path}")
        assert refused.value.response.status_code == 404
