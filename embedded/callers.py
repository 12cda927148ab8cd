"""Whether a request comes from this PID namespace: a header that the host sets, and takes from what clients send.

A sandbox or a container with this machine's network reaches a server on loopback as the user's own programs do. Linux
tells them apart: /proc knows the socket at the other end of a connection, who holds it, and in which namespace.
"""

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import cast, override

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER = "x-caller-namespace"
"""Not there: the caller is in ours. Else it is in another, is another user's, or has gone."""
TELLS = os.path.exists("/proc/self/ns/pid") and os.path.exists("/proc/self/net/tcp")
"""Whether this system can say so; where it cannot, nobody is marked."""
OTHER = b"other"
ESTABLISHED = 1

type Address = tuple[str, int]


class Caller:
    """Who is at the other end of one connection."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ours: bool | None = None

    async def is_ours(self) -> bool:
        """Looked up for the first request: another can only come from who has the same connection."""
        if self._ours is None:
            caller, here = (self._transport.get_extra_info(name) for name in ("peername", "sockname"))
            found = await asyncio.to_thread(in_our_namespace, caller[:2], here[:2])
            self._ours = found and self._is_open()
        return self._ours

    def _is_open(self) -> bool:
        """Else, what was found may be a later connection from the same port."""
        try:
            info = self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return False
        return info[0] == ESTABLISHED


class Protocol(H11Protocol):
    """uvicorn's, whose requests know their connection."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, HEADER: Caller(transport)}


def marking(app: ASGIApp) -> ASGIApp:
    """`app`, for requests that come by `Protocol`."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            name = HEADER.encode()
            headers = [each for each in scope["headers"] if each[0] != name]
            if TELLS and not await cast(Caller, scope["state"][HEADER]).is_ours():
                headers.append((name, OTHER))
            scope = {**scope, "headers": headers}
        await app(scope, receive, send)

    return call


def in_our_namespace(caller: Address, here: Address) -> bool:
    """Whether the connection from `caller` to `here` is held by processes of our PID namespace, and by no others.

    False, too, where nobody is found: the caller is on another machine, is a process of somebody else, or has gone.
    """
    inode = _inode(caller, here)
    owners = [*_owners(inode)] if inode else []
    return bool(owners) and all(map(_is_neighbour, owners))


def _inode(caller: Address, here: Address) -> str | None:
    """Of the caller's socket."""
    wanted = {*zip(_written(caller), _written(here), strict=True)}
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError), open(f"/proc/self/net/{table}") as file:  # a system may have no IPv6
            for line in file:
                _, local, remote, state, *_, inode = line.split()[:10]
                if (local, remote) in wanted and int(state, 16) == ESTABLISHED:
                    return inode
    return None


def _written(address: Address) -> list[str]:
    """As the kernel's tables have it: words in hexadecimal; what is IPv4 may have been asked for as IPv6."""
    ip = ipaddress.ip_address(address[0])
    ip = (ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None) or ip
    forms = [ip.packed] if ip.version == 6 else [ip.packed, b"\0" * 10 + b"\xff\xff" + ip.packed]
    return [
        f"{''.join(f'{word:08X}' for (word,) in struct.iter_unpack('=I', each))}:{address[1]:04X}" for each in forms
    ]


def _owners(inode: str) -> Iterator[str]:
    """The processes that have this socket open, as far as we may know."""
    wanted = f"socket:[{inode}]"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        folder = f"/proc/{pid}/fd"
        with suppress(OSError):  # another user's, or gone
            if any(_target(f"{folder}/{handle}") == wanted for handle in os.listdir(folder)):
                yield pid


def _is_neighbour(pid: str) -> bool:
    return _target(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")


def _target(link: str) -> str | None:
    try:
        return os.readlink(link)
    except OSError:  # gone meanwhile
        return None
