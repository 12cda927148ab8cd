"""What processes printed: in files that the agent can read, without secrets, with a limit.

Tools write in the folder around these files. So they are opened through a descriptor of their own folder and never by
way of a link: a link laid there must not make the worker read or write elsewhere.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from worker.masking import Secrets

KEPT = 100_000_000
"""Bytes of one output that stay on the disk, and besides them its end."""
TAIL = 65_536
RAW = 1000


class Outputs:
    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def create(self, name: str) -> BinaryIO:
        """An empty file, instead of the one that may be there."""
        self.remove(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.fdopen(os.open(name, flags, 0o644, dir_fd=self._folder), "wb")

    def put(self, name: str, content: bytes, *, executable: bool = False) -> None:
        with self.create(name) as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o755 if executable else 0o644)

    def open(self, name: str) -> BinaryIO:
        """Raises OSError, also for what is no plain file."""
        return os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder), "rb")

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder)

    def names(self) -> list[str]:
        return sorted(os.listdir(self._folder))


class Capture:
    """One process's output on its way to a file."""

    def __init__(self, file: BinaryIO, secrets: Secrets) -> None:
        self.printed = 0
        """Bytes that came."""
        self._file = file
        self._masked = secrets.stream()
        self._written = 0
        self._raw = b""
        self._tail = b""
        self._lost = 0

    def feed(self, data: bytes) -> None:
        """Raises OSError if the disk is full."""
        self.printed += len(data)
        self._raw = (self._raw + data)[-RAW:]
        self._write(self._masked.feed(data.decode("latin-1")))

    def close(self) -> None:
        """May be repeated."""
        if self._file.closed:
            return
        self.settle()
        if self._lost:
            end = self._tail[-self._lost :]
            note = b"\n[... %d bytes were not kept ...]\n" % (self._lost - len(end)) if self._lost > len(end) else b""
            self._file.write(note + end)
        self._file.close()

    @property
    def raw(self) -> bytes:
        """The last of what came, secrets included: to be looked at, not to be shown."""
        return self._raw

    def settle(self) -> None:
        """Write what is held back because it could be the beginning of a secret."""
        if not self._file.closed:
            self._write(self._masked.close())

    def _write(self, text: str) -> None:
        data = text.encode("latin-1")
        room = max(0, KEPT - self._written)
        self._file.write(data[:room])
        self._file.flush()
        self._written += min(room, len(data))
        self._lost += max(0, len(data) - room)
        self._tail = (self._tail + data)[-TAIL:]
