"""What tools can get at: in bubblewrap, as another user, and that it is said where they are not kept apart."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from nightshift.errors import Permanent
from nightshift.models import Approval, GitHubToken
from tests.worker.conftest import SECRET, Machine, configuration, sandboxed, until, use, workbench
from tests.worker.controlplane import ControlPlane
from worker import credentials, process, sandbox
from worker.credentials import Tokens
from worker.masking import Secrets
from worker.outputs import Outputs
from worker.tools import Workbench


async def fetch(repository: str, renew: bool) -> GitHubToken:
    return GitHubToken(token=SECRET)


async def yes(_: Approval) -> bool:
    return True


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with what nobody should see; the worker's is `machines/one/home` in it, as a local machine's may be."""
    for name in (".ssh/id_ed25519", ".aws/credentials", ".config/gh/hosts.yml", "machines/two/home/f", "var/hub.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("private")
    (tmp_path / ".cargo" / "bin").mkdir(parents=True)
    (tmp_path / ".cargo" / "bin" / "a-tool").write_text("#!/bin/sh\necho the tool works\n")
    (tmp_path / ".cargo" / "bin" / "a-tool").chmod(0o755)
    (tmp_path / ".cargo" / "credentials.toml").write_text("private")
    monkeypatch.setattr(sandbox, "_home", lambda: tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / '.cargo' / 'bin'}:{os.environ['PATH']}")
    return tmp_path


@pytest_asyncio.fixture
async def box(private: Path) -> AsyncGenerator[Workbench]:
    folder, secrets = private / "machines" / "one" / "home", Secrets(SECRET)
    async with workbench(folder, configuration(), Tokens(fetch, secrets.add), secrets, sandboxed(folder)) as bench:
        yield replace(bench, allows=yes)  # the sandbox must hold by itself


async def test_nothing_of_the_user_is_there(box: Workbench, private: Path) -> None:
    names = (
        ".ssh/id_ed25519 .aws/credentials .config/gh/hosts.yml .cargo/credentials.toml machines/two/home/f var/hub.db"
    )
    for name in names.split():
        assert "No such file" in (await use(box, "shell", command=f"cat {private}/{name}")).text
    found = await use(box, "shell", command=f"grep -rs 'privat[e]' {private}; a-tool")
    assert found.text.startswith("the tool works\n")
    for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/user", "/var/lib", "/home", "/root/.ssh", "/boot"):
        assert (await use(box, "shell", command=f"ls -A {path}")).is_error
    for name in ("/etc/shadow", "/etc/gshadow", "/etc/sudoers"):
        assert (await use(box, "shell", command=f"cat {name}")).is_error
    assert not (await use(box, "shell", command="cat /etc/passwd > /dev/null && [ -w ~ ] && touch ~/x")).is_error


async def test_nothing_of_the_system_can_be_changed(box: Workbench, private: Path) -> None:
    for path in ("/usr/x", "/etc/x", "/x", "/opt/x", "/sys/x", f"{private}/.cargo/bin/x"):
        assert (await use(box, "shell", command=f"touch {path}")).is_error
        assert (await use(box, "create", path=path, text="x")).is_error
        assert not Path(path).exists()
    await use(box, "shell", command=f"touch {private}/x {private}/machines/x")  # in a /tmp of its own
    assert not (private / "x").exists()
    assert not (private / "machines" / "x").exists()
    for folder in (box.outputs.path, box.programs.path):
        for command in (f"touch {folder}/x", f"mv {folder} ~/elsewhere", f"rm {folder}/*"):
            assert (await use(box, "shell", command=command)).is_error


async def test_the_other_tools_see_no_more_than_the_shell(box: Workbench, private: Path) -> None:
    await use(box, "shell", command=f"ln -s {private}/.ssh/id_ed25519 link; ln -s {private} home")
    for path in ("link", "home/.ssh/id_ed25519", f"{private}/.ssh/id_ed25519", "../../../two/home/f"):
        assert (await use(box, "view", path=path)).is_error
        assert (await use(box, "send_file", path=path, caption="x")).is_error
        assert (await use(box, "edit", path=path, old="private", new="public")).is_error
    for path in (f"{private}/.ssh/id_ed25519", f"{private}/machines/two/home/f"):
        await use(box, "create", path=path, text="x", overwrite=True)
    assert (private / ".ssh" / "id_ed25519").read_text() == "private"
    assert (private / "machines" / "two" / "home" / "f").read_text() == "private"
    assert "[nothing found]" in (await use(box, "search", pattern="private", path=str(private / "machines"))).text
    assert "hub.db" not in (await use(box, "find_files", pattern="*", path=str(private))).text


async def test_processes_of_others_are_not_there(box: Workbench) -> None:
    seen = await use(box, "shell", command=f"ls /proc | grep -c '^[0-9]'; kill -0 {os.getpid()}")
    assert int(seen.text.split()[0]) < 10
    assert "No such process" in seen.text


async def test_temporary_files_are_the_machines_own_and_stay(box: Workbench) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as other:
        await use(box, "shell", command='echo kept > "$(mktemp)"; echo $TMPDIR; cd /tmp')
        seen = await use(box, "shell", command=f"cat /tmp/tmp.*; cat {other.name}")
    assert seen.text.startswith("kept\n")
    assert "No such file" in seen.text
    assert (await use(box, "view", path="/tmp")).text.count("tmp.") == 1


async def test_the_network_is_there_and_git_is_signed_in(box: Workbench) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, credentials.serve(box.tokens, box.config.github_host, box.socket, box.check_push):
        assert (await use(box, "shell", command=f"head -1 < /dev/tcp/127.0.0.1/{port}")).text.startswith("hello\n")
        ask = "printf 'protocol=http\\nhost=127.0.0.1:9\\npath=acme/tidytime.git\\n\\n' | git credential fill"
        assert "password=[secret removed]" in (await use(box, "shell", command=ask)).text


async def test_when_the_worker_is_killed_nothing_goes_on(plane: ControlPlane, machine: Machine) -> None:
    sandboxed(machine.folder)
    ready = machine.folder / "ready"
    await plane.say(f"!shell setsid sleep 1000 & (env -i setsid sleep 1001 &) ; touch {ready}; sleep 1002")
    await machine.start()
    await until(ready.exists)
    assert machine.processes()
    await machine.kill()
    await until(lambda: not machine.processes())
    assert "Tools run in a sandbox (bubblewrap)" in machine.log.read_text()


@pytest.mark.parametrize(
    ("bwrap", "told"),
    [
        (None, "WITHOUT a sandbox: bwrap is not there"),
        ("echo No permissions to create new namespace >&2; exit 1", "does not work here: No permissions"),
    ],
)
def test_it_is_said_why_there_is_no_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bwrap: str | None, told: str
) -> None:
    if bwrap:
        (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{bwrap}\n")
        (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = sandbox.choose(tmp_path, ())
    assert not chosen.confined
    assert told in chosen.note
    assert told in sandbox.notice()


async def test_tools_run_as_the_user_they_are_given(agent: Path) -> None:
    chosen = sandbox.choose(agent, ())
    assert (chosen.user, chosen.note) == ("nobody", "Tools run as the user nobody.")
    tokens = Tokens(fetch, lambda token: None)
    async with workbench(agent, configuration(), tokens, Secrets(SECRET), chosen) as careful:
        bench = replace(careful, allows=yes)
        bench.workspace.chmod(0o777)
        found = bench.for_call(1, "item", "call")
        await found.run("bash", "-c", "command -v git", cwd=agent, seconds=60)
        assert found.output_file().read_text() == f"{bench.programs.path}/git\n", "pushes are checked"
        seen = await use(bench, "shell", command="id -un; echo $HOME $USER; cd /tmp; export X=kept; cat /etc/shadow")
        assert seen.text.startswith("nobody\n/nonexistent nobody\n")
        assert "Permission denied" in seen.text
        assert (await use(bench, "shell", command="echo $X; pwd")).text.startswith("kept\n/tmp\n")
        assert (await use(bench, "view", path="/etc/shadow")).text == "/etc/shadow: Permission denied."
        await use(bench, "create", path=str(bench.workspace / "f"), text="x")
        assert (bench.workspace / "f").owner() == "nobody"
        ended = await use(bench, "shell", command="setsid sleep 1000 & sleep 1001", timeout_seconds=1)
        assert "its limit" in ended.text
        assert process.marked(process.TOOLS_MARK, str(agent)) == []
        await use(bench, "shell", command="sleep 1000", background=True)
        assert "was stopped by you" in (await use(bench, "background", action="stop", id="bg1")).text


def test_the_programs_of_tools_are_not_for_their_user_to_change(agent: Path) -> None:
    chosen = sandbox.choose(agent, ())
    with sandbox.programs_folder(agent) as folder:
        Outputs(folder).put("git", b"#!/bin/sh\necho ours\n", executable=True)
        for change in (f"echo > {folder}/git", f"rm -f {folder}/git", f"mv {folder} {agent}/x", f"touch {folder}/x"):
            done = subprocess.run(chosen.wrap(["sh", "-c", change], agent), capture_output=True)
            assert done.returncode, change
        assert subprocess.run(chosen.wrap([f"{folder}/git"], agent), capture_output=True).stdout == b"ours\n"
    assert not folder.exists()


async def test_tools_that_must_not_run_as_the_worker_do_not(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sandbox.TOOL_USER, "no-such-user")
    with pytest.raises(Permanent, match="tools cannot run as no-such-user"):
        sandbox.choose(agent, ())
