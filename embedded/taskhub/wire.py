"""gRPC on an event loop, over HTTP/2: calls with one request, and one answer or a stream of them.

grpcio's own servers hand every call from thread to thread, which takes more of the processor than all the hub does for
it. Here a call is a task that begins where its last byte is read.
"""

import asyncio
import logging
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from inspect import isawaitable
from pathlib import Path
from typing import Any, override
from urllib.parse import quote

import grpc
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from embedded.tasks import Tasks

logger = logging.getLogger(__name__)

LARGEST = 2**31 - 1  # a message may be of any size, and any number of clients may wait
LIMITS: dict[SettingCodes | int, int] = {
    SettingCodes.INITIAL_WINDOW_SIZE: LARGEST,
    SettingCodes.MAX_CONCURRENT_STREAMS: LARGEST,
    SettingCodes.MAX_FRAME_SIZE: 1 << 20,
}
CONFIG = H2Configuration(  # what is sent here is as it must be, and what gRPC's own clients send, too
    client_side=False, header_encoding=None, validate_inbound_headers=False, validate_outbound_headers=False,
    normalize_inbound_headers=False, normalize_outbound_headers=False,
)  # fmt: skip
BEGIN = ((b":status", b"200"), (b"content-type", b"application/grpc"))
PREFIX = 5  # bytes before a message: whether it is compressed, and its length
ZLIB_OR_GZIP = 47

type Method = tuple[Callable[[bytes], Any], Callable[[Any], Any]]
"""How to read the request, and what answers it: a coroutine function or an async generator function, of
messages; None is the empty one."""


class Refused(Exception):
    """A call that cannot be done, as gRPC says it."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@asynccontextmanager
async def serving(methods: Mapping[bytes, Method], place: int | Path) -> AsyncGenerator[str]:
    """Serve `methods`, which are by path, on a loopback port, 0 for a free one, or on a Unix socket of this user's.

    Yields the address as clients take it. Raises OSError when the place is taken, or its path too long.
    """
    calls, loop = Tasks(), asyncio.get_running_loop()
    if isinstance(place, Path):
        server = await loop.create_unix_server(lambda: Connection(methods, calls), place, start_serving=False)
        address = f"unix:{place}"
        place.chmod(0o600)
        await server.start_serving()
    else:
        server = await loop.create_server(lambda: Connection(methods, calls), "127.0.0.1", place)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield address
    finally:
        server.close()
        await asyncio.sleep(0)  # what was just answered is still to be written
        server.close_clients()
        await calls.drain(0)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, methods: Mapping[bytes, Method], calls: Tasks) -> None:
        self._methods, self._calls = methods, calls
        self._h2 = H2Connection(CONFIG)
        self._requests: dict[int, tuple[bytes, bytearray]] = {}  # being received, by stream: path and body
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Event()  # perhaps the client takes more now
        self._stalled = False  # it does not even read
        self._flushing = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._h2.update_settings(LIMITS)
        self._h2.increment_flow_control_window(LARGEST - self._h2.inbound_flow_control_window)
        self._flush()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        for task in [*self._tasks.values()]:
            task.cancel()

    @override
    def pause_writing(self) -> None:
        """Who does not read what we answer is not heard either, or its answers would fill the memory."""
        self._stalled = True
        self._transport.pause_reading()

    @override
    def resume_writing(self) -> None:
        self._stalled = False
        self._transport.resume_reading()
        self._room.set()

    @override
    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._receive(event)
        except ProtocolError as error:
            logger.warning("a client does not speak gRPC: %s", error)
            self._transport.close()
        self._flush_soon()

    def _receive(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._requests[event.stream_id] = dict(event.headers)[b":path"], bytearray()
            case DataReceived():
                self._requests[event.stream_id][1].extend(event.data)
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                stream, request = event.stream_id, self._requests.pop(event.stream_id)
                self._tasks[stream] = task = self._calls.begin(self._serve(stream, *request))
                task.add_done_callback(lambda _: self._tasks.pop(stream))
            case StreamReset():
                self._requests.pop(event.stream_id, None)
                if task := self._tasks.get(event.stream_id):
                    task.cancel()
            case ConnectionTerminated():
                self._transport.close()
            case _:  # such as larger windows
                self._room.set()

    async def _serve(self, stream: int, path: bytes, body: bytearray) -> None:
        code, reason = grpc.StatusCode.OK, ""
        with suppress(ProtocolError):  # the client has gone
            try:
                await self._answer(stream, path, body)
            except Refused as error:
                code, reason = error.code, str(error)
            except ProtocolError:
                raise
            except Exception as error:
                logger.exception("%s failed", path.decode())
                code, reason = grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}"
            end = [(b"grpc-status", b"%d" % code.value[0])]
            if reason:
                end.append((b"grpc-message", quote(reason).encode()))
            self._h2.send_headers(stream, end, end_stream=True)
            self._flush_soon()

    async def _answer(self, stream: int, path: bytes, body: bytearray) -> None:
        self._h2.send_headers(stream, BEGIN)
        if path not in self._methods:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"there is no {path.decode()}")
        read, answer = self._methods[path]
        message = zlib.decompress(body[PREFIX:], ZLIB_OR_GZIP) if body[0] else bytes(body[PREFIX:])
        answers = answer(read(message))
        if isawaitable(answers):
            await self._send(stream, await answers)
            return
        async with aclosing(answers):
            async for each in answers:
                await self._send(stream, each)

    async def _send(self, stream: int, message: Any) -> None:
        data: bytes = b"" if message is None else message.SerializeToString()
        data = b"\0" + len(data).to_bytes(4) + data
        sent = 0
        while sent < len(data):
            while self._stalled or not (room := self._h2.local_flow_control_window(stream)):
                self._room.clear()
                await self._room.wait()
            part = data[sent : sent + min(room, self._h2.max_outbound_frame_size)]
            self._h2.send_data(stream, part)
            sent += len(part)
            self._flush_soon()

    def _flush_soon(self) -> None:
        """Write once for all that this pass of the loop has brought."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if data := self._h2.data_to_send():
            self._transport.write(data)
