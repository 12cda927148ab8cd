"""A stand-in for Azure Web PubSub: one node, nothing kept, for the real service and client libraries.

Served: clients with `json.webpubsub.azure.v1` or no subprotocol; send to a hub's or a group's connections.
Not served: users, permissions at run time, upstream events, filters, reliable reconnection.
"""

import asyncio
import base64
import json
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from uuid import uuid4

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from embedded.errors import StartError

logger = logging.getLogger(__name__)

SUBPROTOCOL = "json.webpubsub.azure.v1"
BACKLOG = 1000  # messages; a client that is further behind is disconnected
CLOSE_SECONDS = 1.0

DataType = Literal["json", "text", "binary"]
_DATA_TYPES: dict[str, DataType] = {
    "application/json": "json",
    "text/plain": "text",
    "application/octet-stream": "binary",
}


@dataclass(eq=False, slots=True)
class Connection:
    """One client. Messages wait in its own queue, so a slow client delays nobody."""

    hub: str
    socket: WebSocket
    user_id: str | None
    roles: frozenset[str]
    speaks_json: bool
    groups: set[str]
    id: str = field(default_factory=lambda: uuid4().hex)
    outbox: asyncio.Queue[str | bytes | None] = field(default_factory=lambda: asyncio.Queue())

    def may(self, action: str, group: str) -> bool:
        return not self.roles.isdisjoint({f"webpubsub.{action}", f"webpubsub.{action}.{group}"})

    def put(self, message: str | bytes) -> None:
        """Queue a frame; a client that does not keep up loses its backlog and its connection."""
        if self.outbox.qsize() >= BACKLOG:
            while not self.outbox.empty():
                self.outbox.get_nowait()
            self.end()
        else:
            self.outbox.put_nowait(message)

    def end(self) -> None:
        """Close once what is queued has been sent."""
        self.outbox.put_nowait(None)

    def tell(self, **message: Any) -> None:
        if self.speaks_json:
            self.put(json.dumps(message))


class PubSub:
    """`endpoint` is what tokens are made out for, such as "http://127.0.0.1:7071"."""

    def __init__(self, endpoint: str, access_key: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._access_key = access_key
        self._connections: dict[str, Connection] = {}

    @classmethod
    def from_connection_string(cls, text: str) -> "PubSub":
        """Raises StartError when a part is missing."""
        parts = {name.lower(): value for name, _, value in (part.partition("=") for part in text.split(";"))}
        try:
            endpoint, port = parts["endpoint"].rstrip("/"), parts.get("port")
            return cls(f"{endpoint}:{port}" if port else endpoint, parts["accesskey"])
        except KeyError as missing:
            raise StartError(f"WebPubSubConnectionString has no {missing}") from None

    def routes(self) -> list[BaseRoute]:
        return [
            WebSocketRoute("/client/hubs/{hub}", self._serve_client),
            Route("/api/hubs/{hub}/:send", self._send, methods=["POST"]),
            Route("/api/hubs/{hub}/groups/{group}/:send", self._send, methods=["POST"]),
        ]

    async def _send(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        url = self._endpoint + request.scope["raw_path"].decode("latin-1")
        audiences = [url, f"{url}?{request.url.query}"]
        if scheme.lower() != "bearer" or self._claims(token, audiences) is None:
            return JSONResponse({"error": {"code": "Unauthorized"}}, 401)
        data_type = _DATA_TYPES.get(request.headers.get("content-type", "").partition(";")[0].strip())
        if data_type is None or "filter" in request.query_params:
            return JSONResponse({"error": {"code": "BadRequest", "message": "content type or filter"}}, 400)
        try:
            data = _decode(data_type, await request.body())
        except ValueError as error:
            return JSONResponse({"error": {"code": "BadRequest", "message": str(error)}}, 400)
        group = request.path_params.get("group")
        origin = {"from": "group", "group": group} if group else {"from": "server"}
        excluded = request.query_params.getlist("excluded")
        self._deliver(request.path_params["hub"], group, data_type, data, excluded, origin)
        return Response(status_code=202)

    def _deliver(
        self,
        hub: str,
        group: str | None,
        data_type: DataType,
        data: Any,
        excluded: Iterable[str],
        origin: dict[str, Any],
    ) -> None:
        message = json.dumps({"type": "message", "dataType": data_type, "data": data, **origin})
        raw = _raw(data_type, data)
        for connection in self._connections.values():
            wanted = connection.hub == hub and (group is None or group in connection.groups)
            if wanted and connection.id not in excluded:
                connection.put(message if connection.speaks_json else raw)

    async def _serve_client(self, socket: WebSocket) -> None:
        hub: str = socket.path_params["hub"]
        claims = self._claims(
            socket.query_params.get("access_token", ""), [f"{self._endpoint.lower()}/client/hubs/{hub}"]
        )
        if claims is None:
            await socket.send_denial_response(Response(status_code=401))
            return
        speaks_json = SUBPROTOCOL in socket.scope.get("subprotocols", [])
        await socket.accept(SUBPROTOCOL if speaks_json else None)
        connection = Connection(
            hub=hub,
            socket=socket,
            user_id=claims.get("sub"),
            roles=frozenset(_strings(claims.get("role"))),
            speaks_json=speaks_json,
            groups=set(_strings(claims.get("webpubsub.group"))),
        )
        connection.tell(type="system", event="connected", userId=connection.user_id, connectionId=connection.id)
        self._connections[connection.id] = connection
        writer = asyncio.create_task(_write(connection))
        try:
            await self._read(connection)
        finally:
            del self._connections[connection.id]
            connection.end()
            await asyncio.wait({writer}, timeout=CLOSE_SECONDS)
            writer.cancel()
            (error,) = await asyncio.gather(writer, return_exceptions=True)
            logger.debug("connection %s of hub %s ended: %r", connection.id, hub, error)

    async def _read(self, connection: Connection) -> None:
        while True:
            frame = await connection.socket.receive()
            if frame["type"] == "websocket.disconnect":
                return
            if not connection.speaks_json:
                continue  # a plain client's frames are events for an upstream, and there is none
            try:
                message = json.loads(frame.get("text") or "")
                self._handle(connection, cast(dict[str, Any], message))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                connection.tell(type="system", event="disconnected", message=f"invalid message: {error!r}")
                return

    def _handle(self, connection: Connection, message: dict[str, Any]) -> None:
        kind, group = message["type"], message.get("group", "")
        if kind == "ping":
            connection.tell(type="pong")
            return
        error: tuple[str, str] | None = None
        action = "sendToGroup" if kind == "sendToGroup" else "joinLeaveGroup"
        if kind not in ("joinGroup", "leaveGroup", "sendToGroup"):
            error = ("NotSupported", f"'{kind}' is not served here")
        elif not group or not connection.may(action, group):
            error = ("Forbidden", f"the client has no role for {kind} of '{group}'")
        elif kind == "joinGroup":
            connection.groups.add(group)
        elif kind == "leaveGroup":
            connection.groups.discard(group)
        else:
            origin = {"from": "group", "group": group, "fromUserId": connection.user_id}
            excluded = [connection.id] if message.get("noEcho") else []
            data_type: DataType = message.get("dataType", "json")
            self._deliver(connection.hub, group, data_type, message["data"], excluded, origin)
        if "ackId" in message:
            failure = {"error": {"name": error[0], "message": error[1]}} if error else {}
            connection.tell(type="ack", ackId=message["ackId"], success=error is None, **failure)

    def _claims(self, token: str, audiences: list[str]) -> dict[str, Any] | None:
        try:
            return jwt.decode(
                token, self._access_key, algorithms=["HS256"], audience=audiences, options={"require": ["exp", "aud"]}
            )
        except jwt.InvalidTokenError as error:
            logger.info("token refused: %s", error)
            return None


def own_connection_string(url: str) -> str:
    """For the stand-in at this URL, with a new key."""
    endpoint, _, port = url.rpartition(":")
    return f"Endpoint={endpoint};Port={port};AccessKey={secrets.token_urlsafe(32)};Version=1.0;"


async def _write(connection: Connection) -> None:
    while (frame := await connection.outbox.get()) is not None:
        if isinstance(frame, str):
            await connection.socket.send_text(frame)
        else:
            await connection.socket.send_bytes(frame)
    await connection.socket.close(1008)


def _decode(data_type: DataType, body: bytes) -> Any:
    if data_type == "json":
        return json.loads(body)
    return body.decode() if data_type == "text" else base64.b64encode(body).decode()


def _raw(data_type: DataType, data: Any) -> str | bytes:
    """The frame for a client without a subprotocol. Raises ValueError for data that is not of its type."""
    if data_type == "json":
        return json.dumps(data)
    if data_type not in ("text", "binary") or not isinstance(data, str):
        raise ValueError(f"data is not {data_type}")
    return data if data_type == "text" else base64.b64decode(data, validate=True)


def _strings(claim: Any) -> list[str]:
    """A claim of several values is a list, of one value a string."""
    return [claim] if isinstance(claim, str) else list(claim or [])
