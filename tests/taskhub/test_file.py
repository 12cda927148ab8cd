"""The hub's file: who may open it, what is refused and left as it is, and a full disk."""

import resource
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from durabletask.client import OrchestrationStatus
from durabletask.task import ActivityContext, OrchestrationContext

from embedded.errors import StartError
from embedded.taskhub import TaskHub, database
from tests.taskhub.rig import Process, Rig, Steps, code_of, collect, eventually

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def hub(path: Path) -> Iterator[Process]:
    hub = Process(path)
    yield hub
    hub.kill()


@pytest.fixture
def used(path: Path) -> Path:
    """A hub that was stopped. As nothing was deleted, there is no free page, which might hold anything."""
    with Rig(path) as rig:
        for number in range(20):
            rig.start("x", "x" * 500, f"s{number}")
    return path


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for statement in statements:
            file.execute(statement)


def refusal(path: Path, port: int | None = 0) -> str:
    """Why it cannot be opened; that did not change it."""

    def content() -> list[bytes]:
        return [file.read_bytes() if file.exists() else b"" for file in (path, Path(f"{path}-wal"))]

    before = content()
    with pytest.raises(StartError) as refused:
        TaskHub(path, port).start()
    assert content() == before
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_a_second_host_is_refused_until_the_first_has_gone(hub: Process, path: Path) -> None:
    assert "another host" in refusal(path)
    hub.kill()
    with Rig(path) as rig:
        assert "another host" in refusal(path)  # in the same process, too
        rig.start("x", id="x")
        port = int(rig.address.rpartition(":")[2])
        with pytest.raises(StartError, match=f"port {port}"):
            TaskHub(path.with_name("other.db"), port).start()
    for file, status in ((path, OrchestrationStatus.PENDING), (path.with_name("other.db"), None)):  # both are free
        with Rig(file) as rig:
            assert rig.status("x") is status


@pytest.mark.parametrize("size", [100, PAGE - 1, PAGE, 0.5, 0.9])
def test_a_truncated_file_is_refused(used: Path, size: float) -> None:
    whole = used.read_bytes()
    used.write_bytes(whole[: int(size if size >= 1 else len(whole) * size)])
    message = refusal(used)
    assert "damaged" in message
    assert "restore it" in message


def test_every_page_that_is_not_what_it_was_is_seen(used: Path) -> None:
    whole = used.read_bytes()
    used.write_bytes(b"All work and no play. " * (len(whole) // 22))
    assert "damaged" in refusal(used)
    for page in range(1, len(whole) // PAGE + 1):
        start, end = (page - 1) * PAGE, page * PAGE
        used.write_bytes(whole[:start] + bytes(byte ^ 0xFF for byte in whole[start:end]) + whole[end:])
        assert "damaged" in refusal(used), f"page {page} of {len(whole) // PAGE}"
    used.write_bytes(whole)
    with Rig(used) as rig:
        assert len(rig.client.get_all_orchestration_states()) == 20


def test_a_history_that_cannot_be_read_holds_up_nobody_else(path: Path) -> None:
    with Rig(path) as rig:
        worker = rig.work(collect)
        rig.start(collect, 2, "bad")
        rig.send("bad", "y")
        eventually(lambda: "EventRaised" in rig.events("bad"))
        worker.stop()
        rig.send("bad")
    sql(path, "UPDATE history SET events = x'ff'")
    with Rig(path) as rig:
        hand = rig.hand()
        rig.start(collect, 1, "good")
        assert hand.get().orchestratorRequest.instanceId == "good"


def test_of_a_large_file_the_history_is_checked_when_it_is_read(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LARGE", 0)
    with Rig(used) as rig:
        rig.client.terminate_orchestration("s0")
    with closing(sqlite3.connect(used)) as file:
        pages = dict(file.execute("SELECT name, rootpage FROM sqlite_schema").fetchall())
    whole = used.read_bytes()

    def damage(page: int) -> None:
        start, end = (page - 1) * PAGE, page * PAGE
        used.write_bytes(whole[:start] + bytes(byte ^ 0xFF for byte in whole[start:end]) + whole[end:])

    for table in ("instances", "inbox", "activities", "entities", "lock_requests"):
        damage(pages[table])
        assert "damaged" in refusal(used)
    used.write_bytes(whole[:-PAGE])
    assert "damaged" in refusal(used)
    damage(pages["history"])
    with Rig(used) as rig:
        assert code_of(lambda: rig.events("s0")) is grpc.StatusCode.UNKNOWN
        assert len(rig.client.get_all_orchestration_states()) == 20


def test_a_wal_without_its_file_is_refused(hub: Process, path: Path) -> None:
    """SQLite would delete it, and with it the last that was acknowledged."""
    with Rig(path, hub.address) as rig:
        rig.start("x")
    hub.kill()
    path.unlink()
    assert "-wal" in refusal(path)
    path.touch()
    assert "-wal" in refusal(path)


def test_what_is_no_hub_or_a_newer_one_is_refused(used: Path) -> None:
    shop = used.with_name("shop.db")
    sql(shop, "CREATE TABLE orders (id)")
    assert "not a task hub" in refusal(shop)
    sql(used, "PRAGMA user_version = 1000")
    assert "newer" in refusal(used)


def test_its_socket_is_beside_it_and_one_that_a_killed_host_left_is_in_nobodys_way(path: Path) -> None:
    place = path.with_name("hub.db.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    hub = TaskHub(path, port=None)
    with Rig(path, hub.start()) as rig:
        assert rig.address == f"unix:{place}"
        assert place.stat().st_mode & 0o777 == 0o600
        rig.start("x", id="x")
        assert "another host" in refusal(path, port=None)
        assert rig.status("x") is OrchestrationStatus.PENDING  # its socket is still there
    hub.stop()
    assert not place.exists()
    far = path.with_name("x" * 100) / "hub.db"
    hub = TaskHub(far, port=None)
    with Rig(far, hub.start()) as rig:
        rig.start("x")
    hub.stop()


def test_a_place_that_cannot_be_written_is_said_so(path: Path) -> None:
    path.touch()
    assert "cannot open" in refusal(path / "hub.db")


@pytest.mark.parametrize("done", [(), ("PRAGMA journal_mode = WAL",)])
def test_a_hub_that_was_killed_while_it_was_made_is_made(path: Path, done: tuple[str, ...]) -> None:
    path.touch()
    sql(path, *done)
    with Rig(path) as rig:
        rig.start("x", id="x")
        assert rig.status("x") is OrchestrationStatus.PENDING


def test_a_full_disk_fails_the_call_and_loses_nothing(hub: Process, path: Path) -> None:
    """No file of the hub may grow, as on a full disk; work goes on by itself when it may again."""
    ids = [f"s{number}" for number in range(5)]
    runs: list[str] = []

    def work(ctx: ActivityContext, text: str) -> str:
        runs.append(text)
        return text.upper()

    def session(ctx: OrchestrationContext, _: None) -> Steps:
        found: list[Any] = []
        while not found or found[-1] != "LAST":
            found.append((yield ctx.call_activity(work, input=(yield ctx.wait_for_external_event("item")))))
        return found

    def limit(size: int) -> None:
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with Rig(path, hub.address) as rig:
        rig.work(session)
        for id in ids:
            rig.start(session, id=id)
            rig.send(id, id)
            eventually(lambda id=id: "TaskScheduled" in rig.events(id))
        limit(Path(f"{path}-wal").stat().st_size)
        for id in ids:
            for call in (lambda id=id: rig.send(id, "refused"), lambda: rig.start(session, id="new")):
                assert code_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
        rig.work(activities=[work])  # its reports are refused, too
        eventually(lambda: set(runs) == set(ids) and len(runs) > len(ids))
        assert rig.status("new") is None
        assert {rig.status(id) for id in ids} == {OrchestrationStatus.RUNNING}
        limit(resource.RLIM_INFINITY)
        for id in ids:
            rig.send(id, "more")
        eventually(lambda: runs.count("more") >= len(ids))
    hub.kill()
    with Rig(path) as rig:
        rig.work(session, activities=[work])
        for id in ids:
            rig.send(id, "last")
        assert [rig.output(id) for id in ids] == [[id.upper(), "MORE", "LAST"] for id in ids]
