"""The forge's git side, with the real git client and with raw requests of the shapes that git may send."""

import asyncio
import gzip
import logging
import os
import random
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import BlockingPortal

from demo.forge import Forge
from demo.forge.state import State
from tests.demo.forge_tools import clone, git, push_change, remote

REPO = "acme/tidytime"


def test_clone_has_the_sample(forge: Forge, token: str, tmp_path: Path) -> None:
    folder = clone(forge, token, tmp_path / "work")
    assert (folder / "AGENTS.md").is_file()
    assert git(folder, "branch", "--show-current").stdout.strip() == "main"
    ran = subprocess.run([sys.executable, "-B", "-m", "unittest"], cwd=folder, capture_output=True, text=True)
    assert "FAILED (failures=1)" in ran.stderr


def test_without_a_token(forge: Forge, tmp_path: Path) -> None:
    answer = httpx.get(f"{forge.url}/{REPO}.git/info/refs?service=git-upload-pack")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    refused = git(tmp_path, "clone", f"{forge.url}/{REPO}.git", check=False)
    assert refused.returncode != 0


@pytest.mark.parametrize("form", ["bearer", "token", "basic"])
def test_forms_of_authorization(forge: Forge, token: str, form: str) -> None:
    auth = httpx.BasicAuth("anybody", token) if form == "basic" else None
    headers = {} if form == "basic" else {"Authorization": f"{form.title()} {token}"}
    url = f"{forge.url}/{REPO}.git/info/refs?service=git-receive-pack"
    assert httpx.get(url, auth=auth, headers=headers).status_code == 200


def test_wrong_tokens(forge: Forge) -> None:
    url = f"{forge.url}/{REPO}.git/info/refs?service=git-upload-pack"
    for value in ("Bearer nonsense", "Basic !!!", "Basic", "Digest x", "Bearer"):
        assert httpx.get(url, headers={"Authorization": value}).status_code == 401


def test_read_only_token_reads_but_does_not_push(forge: Forge, tmp_path: Path) -> None:
    token = forge.add_token("reader", "ro")
    folder = clone(forge, token, tmp_path / "work")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Nothing")
    refused = git(folder, "push", "origin", "HEAD:refs/heads/mine", check=False)
    assert refused.returncode != 0
    assert "403" in refused.stderr
    direct = httpx.post(f"{forge.url}/{REPO}.git/git-receive-pack", auth=("x", token), content=b"0000")
    assert direct.status_code == 403


def test_token_of_another_repository_sees_nothing(forge: Forge, portal: BlockingPortal) -> None:
    portal.call(forge.create_repository, "acme", "other")
    token = forge.add_token("nightshift", "rw", ["acme/other"])
    auth, query = ("x", token), "info/refs?service=git-upload-pack"
    assert httpx.get(f"{forge.url}/acme/other.git/{query}", auth=auth).status_code == 200
    assert httpx.get(f"{forge.url}/{REPO}.git/{query}", auth=auth).status_code == 404
    assert httpx.get(f"{forge.url}/acme/absent.git/{query}", auth=auth).status_code == 404


@pytest.mark.parametrize("path", ["HEAD", "config", "../../forge.json", "objects/info/packs"])
def test_only_the_smart_protocol_is_served(forge: Forge, token: str, path: str) -> None:
    host, port = forge.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as wire:  # no client tidies the path up
        request = (
            f"GET /{REPO}.git/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        )
        wire.sendall(request.encode())
        answer = b"".join(iter(lambda: wire.recv(4096), b""))
    assert b" 404 " in answer.splitlines()[0]


@pytest.mark.parametrize("post_buffer", ["1024", "100m"])
def test_large_push(forge: Forge, token: str, tmp_path: Path, post_buffer: str) -> None:
    """A small post buffer makes git send the pack chunked, a large one with its length."""
    folder = clone(forge, token, tmp_path / "work")
    git(folder, "config", "http.postBuffer", post_buffer)
    data = random.Random(1).randbytes(20_000_000)
    (folder / "large.bin").write_bytes(data)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Large")
    git(folder, "push", "--quiet", "origin", "HEAD:refs/heads/large")
    again = tmp_path / "again"
    git(tmp_path, "clone", "--quiet", "--branch", "large", remote(forge, token), str(again))
    assert (again / "large.bin").read_bytes() == data


@pytest.mark.parametrize("chunked", [False, True])
def test_gzip_body(forge: Forge, token: str, chunked: bool) -> None:
    """As git sends a fetch that has much to say."""
    body = gzip.compress(b"0014command=ls-refs\n0000")
    answer = httpx.post(
        f"{forge.url}/{REPO}.git/git-upload-pack",
        auth=("x", token),
        headers={
            "Content-Type": "application/x-git-upload-pack-request",
            "Content-Encoding": "gzip",
            "Git-Protocol": "version=2",
        },
        content=iter([body[:10], body[10:]]) if chunked else body,
    )
    assert answer.status_code == 200
    assert b"refs/heads/main" in answer.content


def test_fetch_with_many_refs_is_gzipped_by_git(forge: Forge, token: str, tmp_path: Path) -> None:
    folder = clone(forge, token, tmp_path / "work")
    for number in range(60):
        git(folder, "commit", "--quiet", "--allow-empty", "--message", f"Local {number}")
    push_change(clone(forge, token, tmp_path / "other"), "news", "news.txt", "news\n")
    git(folder, "fetch", "--quiet", "origin")
    assert git(folder, "show", "origin/news:news.txt").stdout == "news\n"


def test_ten_sessions_push_at_once(forge: Forge, token: str, tmp_path: Path) -> None:
    folders = [clone(forge, token, tmp_path / f"work{number}") for number in range(10)]
    together = threading.Barrier(len(folders))

    def session(number: int) -> list[str]:
        together.wait()
        return [push_change(folders[number], f"session-{number}", f"{turn}.txt", f"{number}\n") for turn in range(3)]

    with ThreadPoolExecutor(len(folders)) as pool:
        pushed = list(pool.map(session, range(10)))
    listing = git(tmp_path, "ls-remote", "--heads", remote(forge, token)).stdout
    tips = {name: sha for sha, name in (line.split("\t") for line in listing.splitlines())}
    assert [tips[f"refs/heads/session-{number}"] for number in range(10)] == [shas[-1] for shas in pushed]
    git(forge.state.git(REPO).path, "fsck", "--strict")


def test_one_of_two_pushes_to_a_branch_wins(forge: Forge, token: str, tmp_path: Path) -> None:
    folders = [clone(forge, token, tmp_path / f"work{number}") for number in range(2)]
    for number, folder in enumerate(folders):
        git(folder, "commit", "--quiet", "--allow-empty", "--message", f"Mine {number}")

    def push(folder: Path) -> bool:
        return git(folder, "push", "origin", "HEAD:main", check=False).returncode == 0

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(push, folders)) == [False, True]


def test_stop_in_the_middle_of_a_push_leaves_no_process(tmp_path: Path, portal: BlockingPortal) -> None:
    forge = Forge(tmp_path / "forge")
    portal.call(forge.create_repository, "acme", "empty")
    portal.call(forge.start)
    token = forge.add_token("nightshift")
    host, port = forge.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as wire:
        head = f"POST /acme/empty.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        kind = "Content-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n"
        wire.sendall(f"{head}{kind}Expect: 100-continue\r\n\r\n".encode())
        # "100 Continue", or already the head of the answer: the backend is running and waits for its input
        assert wire.recv(100).startswith(b"HTTP/1.1 ")
        assert _children()
        portal.call(forge.stop)
    assert not _children()


def _children() -> set[int]:
    """The processes below this one whose command is git, at any depth."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            parents[int(entry.name)] = (int(rest.split()[1]), name)
    found = {os.getpid()}
    while more := {pid for pid, (parent, _) in parents.items() if parent in found} - found:
        found |= more
    return {pid for pid in found if parents[pid][1].startswith("git")}


def test_restarted_forge_keeps_its_state(forge: Forge, token: str, portal: BlockingPortal, tmp_path: Path) -> None:
    folder = clone(forge, token, tmp_path / "work")
    sha = push_change(folder, "feature", "a.txt", "a\n")
    portal.call(forge.stop)
    again = Forge(forge.state.root)
    portal.call(again.start)
    try:
        assert sha in git(tmp_path, "ls-remote", remote(again, token)).stdout
        assert [issue.number for issue in again.issues("acme", "tidytime")] == [1]
    finally:
        portal.call(again.stop)


def test_tokens_are_neither_stored_nor_logged(
    forge: Forge, token: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    push_change(clone(forge, token, tmp_path / "work"), "feature", "a.txt", "a\n")
    httpx.get(f"{forge.api_url}/user?access_token={token}", headers={"Authorization": f"Bearer {token}"})
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert any("git-receive-pack" in line for line in ours)
    assert not any(token in line for line in ours)
    assert token not in (forge.state.root / "forge.json").read_text()


def test_changes_are_written_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = State(tmp_path)
        await state.create_repository("acme/thing")
        assert State(tmp_path).records == state.records

    asyncio.run(scenario())
    assert (tmp_path / "forge.json").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "forge.new").exists()


def test_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "demo.forge", "--root", str(tmp_path / "forge"), "--sample"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("url ").strip()
        token_file = Path(process.stdout.readline().removeprefix("token file ").strip())
        token = token_file.read_text().strip()
        try:
            assert token_file.stat().st_mode & 0o777 == 0o600
            answer = httpx.get(f"{url}/api/v3/repos/{REPO}", headers={"Authorization": f"Bearer {token}"})
            assert answer.json()["default_branch"] == "main"
        finally:
            process.terminate()
        output, errors = process.communicate()
    assert process.returncode == 0
    assert token not in output + errors
