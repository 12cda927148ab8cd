"""Counts the points of a run, and kills at one of them.

A point is passed when something has just become durable or visible to another process: a commit, a file moved or
removed, a process born or signalled, an HTTP request answered. Whatever the product does, it does through these doors,
so they are watched here and the product needs no hooks. Python imports this module by itself where its folder is on
PYTHONPATH; it watches `cli up` and the workers that this starts, if SWEEP_FOLDER says where to count:

    SWEEP_FOLDER/trace       one line a point, over all processes and all starts
    SWEEP_FOLDER/count       how many they are
    SWEEP_MODE, SWEEP_AT     whom to kill, with SIGKILL, right after which points (as 37,52)
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOST, WORKER = "host", "worker"
MACHINE = "NIGHTSHIFT_MACHINE"
_kill = os.kill  # as it was before it was watched


class Points:
    """This process's hand on what all processes of a run share."""

    def __init__(self, folder: Path, role: str) -> None:
        self._folder = folder
        self._role = role
        self._mode = os.environ["SWEEP_MODE"]
        self._at = os.environ["SWEEP_AT"].split(",")
        if role == WORKER and (others := _others(os.environ[MACHINE])):
            self._write(f"{TWO} {os.environ[MACHINE]}: {', '.join(others)}")
        (folder / f"{role}.pid").write_text(str(os.getpid()))

    def passed(self, kind: str, what: str) -> None:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held while killing, so that nobody comes any further
            worker = self._alive(WORKER)
            nobody = self._mode == WORKER and worker is None
            count = 0 if nobody else self._next()
            marks = "w" if worker is not None else " "
            self._write(
                f"{count:5}{marks} {time.time() % 1000:.2f} {self._role:6} {kind:7} {' '.join(what.split())[:160]}"
            )
            if str(count) in self._at:
                self._write(f"{KILLED} {self._mode}")
                self._strike()

    def _strike(self) -> None:
        names = (WORKER, HOST) if self._mode == "both" else (self._mode,)
        victims = [pid for name in names if (pid := self._alive(name)) is not None]
        for pid in sorted(victims, key=lambda pid: pid == os.getpid()):  # itself last
            _kill(pid, signal.SIGKILL)
            while _lives(pid):
                time.sleep(0.001)

    def _next(self) -> int:
        path = self._folder / "count"
        count = int(path.read_text()) + 1 if path.exists() else 1
        path.write_text(str(count))
        return count

    def _alive(self, role: str) -> int | None:
        path = self._folder / f"{role}.pid"
        pid = int(path.read_text() or 0) if path.exists() else 0
        return pid if pid and _lives(pid) else None

    def _write(self, line: str) -> None:
        with (self._folder / "trace").open("a") as trace:
            trace.write(line + "\n")


KILLED, TWO = "  >>> SIGKILL", "  !!! not alone on"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _others(machine: str) -> list[str]:
    """Processes of this machine that an earlier start left alive: at the birth of a worker there must be none."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                if f"{MACHINE}={machine}".encode() in environment:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue  # not ours, or gone meanwhile
    return found


def watch_sqlite(points: Points) -> None:
    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            return self._watched(super().execute, sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
            return self._watched(super().executemany, sql, parameters)

        def executescript(self, sql: str, /) -> sqlite3.Cursor:
            super().executescript(sql)
            db: Any = self.connection
            db.passed("a script")
            return self

        def _watched(self, call: Callable[..., sqlite3.Cursor], sql: str, parameters: Any) -> sqlite3.Cursor:
            db: Any = self.connection
            opened, changes, words = db.in_transaction, db.total_changes, " ".join(sql.split())
            if db.makes_file:  # the statement before, which is only finished once its cursor is gone
                db.makes_file = False
                db.passed("new file")
            result = call(sql, parameters)
            db.makes_file = words.upper().startswith("PRAGMA JOURNAL_MODE")
            written = db.total_changes > changes
            if opened and not db.in_transaction and not words.upper().startswith("ROLLBACK"):
                db.passed()
            elif written:
                names = [value for value in parameters[:1] if isinstance(value, str) and value.isidentifier()]
                db.written.append(" ".join((*words.split(" ", 3)[:3], *names)))
                if not db.in_transaction:
                    db.passed(*(str(value)[:40] for value in parameters[:2]))
            return result

    class Connection(sqlite3.Connection):
        file, makes_file = "", False

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.written: list[str] = []
            """By the transaction that is open."""

        def passed(self, *what: str) -> None:
            written, self.written = self.written, []
            points.passed("commit", " ".join((self.file, ", ".join(dict.fromkeys(written)), *what)))

        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            return self.cursor().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
            return self.cursor().executemany(sql, parameters)

        def executescript(self, sql: str, /) -> sqlite3.Cursor:
            return self.cursor().executescript(sql)

        def commit(self) -> None:
            opened = self.in_transaction
            super().commit()
            if opened:
                self.passed()

        def __exit__(self, *exception: Any) -> Any:
            opened = self.in_transaction
            result = super().__exit__(*exception)
            if opened and exception[0] is None:
                self.passed()
            return result

    connect: Any = sqlite3.connect

    def watched(database: Any, *arguments: Any, **options: Any) -> Any:
        db = connect(database, *arguments, **{"factory": Connection} | options)
        db.file = Path(str(database).partition("?")[0]).name
        return db

    sqlite3.connect = watched


def watch_files(points: Points) -> None:
    replace, here = os.replace, threading.local()
    rmtree: Any = shutil.rmtree

    def watched_replace(src: Any, dst: Any, **options: Any) -> None:
        replace(src, dst, **options)
        points.passed("file", f"replace {Path(dst).name}")

    def watched_rmtree(path: Any, *arguments: Any, **options: Any) -> None:
        here.root = str(path)
        try:
            rmtree(path, *arguments, **options)
        finally:
            here.root = None
        points.passed("file", f"rmtree {Path(path).name}")

    def within(remove: Callable[..., None]) -> Callable[..., None]:
        """A folder goes entry by entry: each entry directly in it is a point."""

        def watched(path: Any, *, dir_fd: int | None = None) -> None:
            root = getattr(here, "root", None)
            direct = root is not None and dir_fd is not None and os.readlink(f"/proc/self/fd/{dir_fd}") == root
            remove(path, dir_fd=dir_fd)
            if direct:
                points.passed("file", f"remove {path}")

        return watched

    os.replace = watched_replace
    shutil.rmtree = watched_rmtree  # pyright: ignore[reportAttributeAccessIssue, reportDeprecated]
    os.unlink, os.rmdir = within(os.unlink), within(os.rmdir)


def watch_processes(points: Points) -> None:
    killpg = os.killpg

    class Popen(subprocess.Popen[Any]):
        def __init__(self, args: Any, *arguments: Any, env: Any = None, **options: Any) -> None:
            if env is not None and MACHINE in env and WORKER in args:  # a machine's environment is a clean one
                env = env | {name: os.environ[name] for name in os.environ if name.startswith("SWEEP_")}
                env["PYTHONPATH"] = f"{Path(__file__).parent}{os.pathsep}{env['PYTHONPATH']}"
            super().__init__(args, *arguments, env=env, **options)
            points.passed("spawn", " ".join(Path(str(word)).name or str(word) for word in args[:5]))

    def watched_kill(pid: int, number: int) -> None:
        _kill(pid, number)
        if number:
            points.passed("signal", f"kill {signal.Signals(number).name}")

    def watched_killpg(group: int, number: int) -> None:
        killpg(group, number)
        points.passed("signal", f"killpg {signal.Signals(number).name}")

    subprocess.Popen = Popen
    os.kill, os.killpg = watched_kill, watched_killpg


def watch_http(points: Points, role: str) -> None:
    import requests

    send: Any = requests.Session.send

    def watched(self: Any, request: Any, **options: Any) -> Any:
        answer = send(self, request, **options)
        points.passed("http", f"{answer.status_code} {request.method} {request.path_url}")
        return answer

    requests.Session.send = watched
    if role == HOST:
        return  # it never imports httpx

    import httpx
    import httpx2

    for client in (httpx.AsyncClient, httpx2.AsyncClient):  # the second is openai's and mcp's
        _watch_client(points, client)


def _watch_client(points: Points, client: Any) -> None:
    send: Any = client.send

    async def watched(self: Any, request: Any, **options: Any) -> Any:
        answer = await send(self, request, **options)
        points.passed("http", f"{answer.status_code} {request.method} {request.url.raw_path.decode()}")
        return answer

    client.send = watched


def begin() -> None:
    command = sys.orig_argv[1:4]
    role = {("-m", "cli", "up"): HOST, ("-m", "worker", "--machine"): WORKER}.get((*command,))  # pyright: ignore[reportArgumentType, reportCallIssue]
    if role is None or "SWEEP_FOLDER" not in os.environ:
        return
    points = Points(Path(os.environ["SWEEP_FOLDER"]), role)
    watch_sqlite(points)
    watch_files(points)
    watch_processes(points)
    watch_http(points, role)


begin()
