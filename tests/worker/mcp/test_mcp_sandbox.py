"""A server can do what the agent's shell can, and no more."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.worker.conftest import sandboxed, use
from tests.worker.mcp.conftest import odd, running
from worker import process, sandbox

ATTEMPTS = (
    "cat {private}",
    "ls -A {private.parent}",
    "touch /usr/nightshift /etc/nightshift",
    "cat /etc/gshadow",
    "kill -0 {pid}",
    "ls -A /root /home /run/user /var/run/docker.sock",
    "cd; ls odd.py; touch x && echo can write",
    "echo $HOME $TMPDIR; id -un",
)


async def test_it_sees_what_the_shell_sees(tmp_path: Path) -> None:
    private, folder = tmp_path / "private" / "key", tmp_path / "machine"
    private.parent.mkdir()
    folder.mkdir()
    private.write_text("private")
    async with running(folder, {"odd": odd(folder, cwd=str(folder))}, sandboxed(folder)) as rig:
        await rig.toolset.renew()
        for attempt in ATTEMPTS:
            script = attempt.format(private=private, pid=os.getpid())
            theirs = await rig.use("odd__run", script=f"{{\n{script}\n}} 2>/dev/null; echo $?")
            ours = await use(rig.bench, "shell", command=f"{{\n{script}\n}} 2>/dev/null; echo $?")
            assert "private" not in theirs.text.replace(str(private), "")
            assert theirs.text == ours.text.partition("[exit code")[0], script
        assert not Path("/usr/nightshift").exists()


async def test_what_it_installs_stays_in_the_sessions_folder(tmp_path: Path) -> None:
    async with running(tmp_path, {"odd": odd(tmp_path)}, sandboxed(tmp_path)) as rig:
        await rig.toolset.renew()
        assert (await rig.use("odd__run", script="npm config get cache || echo $HOME/.npm")).text.strip() == (
            f"{tmp_path}/.npm"
        )
        assert (await rig.use("odd__run", script="mkdir -p ~/.cache/uv && echo there")).text == "there\n"
        assert (tmp_path / ".cache" / "uv").is_dir()


async def test_it_runs_as_the_user_that_tools_run_as(agent: Path) -> None:
    async with running(agent, {"odd": odd(agent, "stays")}, sandbox.choose(agent, ())) as rig:
        rig.bench.workspace.chmod(0o777)
        await rig.toolset.renew()
        assert (await rig.use("odd__run", script="id -un; cat /etc/shadow")).text.startswith("nobody\ncat: /etc/shadow")
        await rig.use("odd__run", script="setsid sleep 1000 > /dev/null 2>&1 &")
        await rig.use("odd__die")
        assert (await rig.use("odd__echo", text="again")).text == "again"
        assert len((agent / "starts").read_text().split()) == 2


@pytest.mark.parametrize("confined", [True, False])
async def test_a_server_that_clings_to_life_does_not_outlive_its_worker(tmp_path: Path, confined: bool) -> None:
    box = sandboxed(tmp_path) if confined else sandbox.Sandbox("The tests' own.")
    async with running(tmp_path, {"odd": odd(tmp_path, "stays")}, box) as rig:
        await rig.toolset.renew()
        await rig.use("odd__run", script="(trap '' TERM HUP; setsid sleep 1000) > /dev/null 2>&1 &")
        rig.run.cancel()
        await asyncio.wait([rig.run])
        assert process.marked(process.CALL_MARK, f"{tmp_path}:mcp:odd") == []
