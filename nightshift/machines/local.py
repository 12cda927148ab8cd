"""Machines on this computer: each is a folder and the processes that belong to it.

    <root>/<name>/machine.json   generation, power asked for, when it was started
    <root>/<name>/worker.log     everything its workers wrote, kept over starts
    <root>/<name>/home           the agent's home and working folder

A process belongs to a machine if its environment, or that of one of its ancestors, says so. Whatever
groups or sessions of its own a tool opened, it is found again, also by a host that was started after a crash.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from nightshift.errors import Permanent, Retryable
from nightshift.models import Failure, MachineInfo, MachineSpec, MachineState, Power

MARK = "NIGHTSHIFT_MACHINE"
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "TMPDIR")
"""All that a machine inherits of this process's environment."""
_TERM_SECONDS = 3.0
_REPOSITORY = Path(__file__).resolve().parents[2]


def machine_name(session_id: str) -> str:
    return f"nightshift-{session_id}"


class LocalMachines:
    """`Machines` as process trees. Every call may be repeated, by any number of hosts."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is added to that of workers: a machine's own, such as where its identity is asked for."""
        self._root = root
        self._environment = environment or {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        """Kept only to be reaped; what runs is always asked of the system."""

    async def begin_start(self, spec: MachineSpec) -> None:
        await asyncio.to_thread(self._start, spec)

    async def state(self, session_id: str) -> MachineState:
        return await asyncio.to_thread(self._state, session_id)

    async def begin_deallocate(self, session_id: str) -> None:
        await asyncio.to_thread(self._stop, session_id)

    async def begin_delete(self, session_id: str) -> None:
        await asyncio.to_thread(self._delete, session_id)

    async def list_all(self) -> list[MachineInfo]:
        return await asyncio.to_thread(self._list)

    async def close(self) -> None:
        return None

    # --- the same, blocking -----------------------------------------------------------------------------

    def _start(self, spec: MachineSpec) -> None:
        name = machine_name(spec.session_id)
        try:
            with self._locked(name):
                self._start_locked(name, spec)
        except OSError as error:
            advice = f"Check disk space and rights of {self._root}."
            raise Permanent(f"The local machine could not be started: {error}.", advice) from error

    def _start_locked(self, name: str, spec: MachineSpec) -> None:
        record = self._read(name)
        if record is not None and record["generation"] > spec.generation:
            return  # a late repeat: a newer start was asked for
        if record is not None and record["generation"] == spec.generation and record["spawned"]:
            return
        self._kill_all(name)
        home = self._root / name / "home"
        home.mkdir(parents=True, exist_ok=True)
        self._write(name, spec, spawned=False)
        self._spawn(name, home, spec)
        self._write(name, spec, spawned=True)

    def _spawn(self, name: str, home: Path, spec: MachineSpec) -> None:
        environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
        environment |= {MARK: name, "HOME": str(home), "PYTHONPATH": str(_REPOSITORY), "PYTHONUNBUFFERED": "1"}
        environment |= self._environment
        with (self._root / name / "worker.log").open("ab") as log:
            worker = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "worker", "--machine", name],
                cwd=home,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # By stdin, so that no secret is in a file, an environment or a process list.
        assert worker.stdin is not None
        with worker.stdin as pipe:
            pipe.write(spec.model_dump_json().encode())
        _wait_for_mark(worker, name)
        self._children[name] = worker

    def _state(self, session_id: str) -> MachineState:
        name = machine_name(session_id)
        if name in self._children:
            self._children[name].poll()
        record = self._read(name)
        if record is None:
            return MachineState(power=Power.ABSENT)
        generation = int(record["generation"])
        if any("worker" in _command(process) for process in _processes(name)):
            return MachineState(power=Power.RUNNING, generation=generation, stage="worker starting")
        if record["stopped"]:
            return MachineState(power=Power.DEALLOCATED, generation=generation)
        failure = Failure(
            stage="worker",
            reason="The worker process ended by itself.",
            advice=f"Its log is {self._root / name / 'worker.log'}.",
        )
        return MachineState(power=Power.FAILED, generation=generation, failure=failure)

    def _stop(self, session_id: str) -> None:
        name = machine_name(session_id)
        self._kill_all(name)
        if self._read(name) is None:
            return
        with self._locked(name):
            self._kill_all(name)
            if (record := self._read(name)) is not None:
                self._save(name, record | {"stopped": True})

    def _delete(self, session_id: str) -> None:
        name = machine_name(session_id)
        self._kill_all(name)
        if not (self._root / name).exists():  # a host that was killed here may have left a folder without its record
            return
        with self._locked(name):
            self._kill_all(name)
            shutil.rmtree(self._root / name, ignore_errors=False, onexc=_ignore_missing)

    def _kill_all(self, name: str) -> None:
        child = self._children.get(name)
        _kill_all(name)
        if child is not None:
            child.wait()  # it is dead or about to be, and nobody else reaps it

    def _list(self) -> list[MachineInfo]:
        found: list[MachineInfo] = []
        for path in sorted(self._root.glob("*/machine.json")):
            record = json.loads(path.read_text("utf-8"))
            state = self._state(record["session_id"])
            found.append(
                MachineInfo(
                    name=path.parent.name,
                    session_id=record["session_id"],
                    power=state.power,
                    generation=state.generation,
                    started_at=datetime.fromisoformat(record["started_at"]),
                )
            )
        return found

    @contextmanager
    def _locked(self, name: str) -> Generator[None]:
        """One caller at a time for a machine, over all processes; the system lets go of it when one dies."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads((self._root / name / "machine.json").read_text("utf-8"))
            return record
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _write(self, name: str, spec: MachineSpec, *, spawned: bool) -> None:
        record = {
            "session_id": spec.session_id,
            "generation": spec.generation,
            "spawned": spawned,
            "stopped": False,
            "started_at": datetime.now(UTC).isoformat(),
        }
        self._save(name, record)

    def _save(self, name: str, record: dict[str, Any]) -> None:
        path = self._root / name / "machine.json"
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(record), "utf-8")
        draft.replace(path)


def _processes(name: str) -> list[psutil.Process]:
    """Living processes of a machine. Zombies are not: nothing of theirs runs."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == name and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # gone meanwhile, or somebody else's: not ours either way
    return [process for process in found.values() if process.pid != os.getpid()]


def _wait_for_mark(worker: subprocess.Popen[bytes], name: str) -> None:
    """For a moment a new process shows no environment at all: a stop that came then would not find it."""
    while worker.poll() is None:
        try:
            if psutil.Process(worker.pid).environ().get(MARK) == name:
                return
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it is dying: the next poll says so
        time.sleep(0.001)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []  # gone between the look and the question


def _kill_all(name: str) -> None:
    """Until none is left: a process may be born between the look and the blow.

    Raises Retryable if some will not die.
    """
    for _ in range(5):
        if not (processes := _processes(name)):
            return
        _kill(processes)
    raise Retryable(f"Processes of machine {name} are still there after five rounds of SIGKILL")


def _kill(processes: list[psutil.Process]) -> None:
    """Ask, then insist. Raises nothing for processes that are gone already."""
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(processes, timeout=_TERM_SECONDS)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=_TERM_SECONDS)


def _ignore_missing(function: Any, path: str, error: BaseException) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
