"""Tools that take more than this computer has: each is ended, told why, and the next one works."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nightshift.models import GitHubToken
from tests.worker.conftest import NO_SANDBOX, configuration, sandboxed, until, use, workbench
from tests.worker.mcp.conftest import odd, running
from worker import process, sandbox
from worker.credentials import Tokens
from worker.guard import FIRST_TO_GO, GB, Guard, Limits, trees
from worker.masking import Secrets
from worker.sandbox import Sandbox
from worker.tools import Workbench

MB = 1_000_000


async def fetch(repository: str, renew: bool) -> GitHubToken:
    raise NotImplementedError


@asynccontextmanager
async def limited(folder: Path, most: Limits, box: Sandbox) -> AsyncGenerator[Workbench]:
    box = replace(box, limits=most)
    async with workbench(folder, configuration(), Tokens(fetch, lambda token: None), Secrets(), box) as bench:
        bench = replace(bench, guard=Guard(most, folder), spare=process.Spare())
        assert bench.guard
        assert bench.spare
        watching = asyncio.create_task(bench.guard.run(process.CALL_MARK))
        yield bench
        await bench.spare.close()
        watching.cancel()
        await asyncio.wait([watching])


async def over(bench: Workbench, id: str) -> None:
    job = bench.background.job(id)
    assert job.watch
    await asyncio.wait({job.watch}, timeout=60)
    assert job.ended


@pytest.fixture(params=["free", "sandboxed"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    return sandboxed(tmp_path) if request.param == "sandboxed" else NO_SANDBOX


async def test_a_crowd_of_processes_is_ended(tmp_path: Path, box: Sandbox) -> None:
    async with limited(tmp_path, Limits(processes=50), box) as bench:
        await use(bench, "shell", command="true  # the next sandbox is made ahead")
        output = await use(bench, "shell", command="echo begun; for i in $(seq 200); do sleep 1000 & done; wait")
        assert output.is_error
        assert output.text.startswith("begun\n[ended because tools ran ")
        assert "50 are the limit here" in output.text
        assert (await use(bench, "shell", command="echo next")).text.startswith("next\n[exit code 0")


HOG = "python3 -c 'x = b\"x\" * 400_000_000; import time; time.sleep(1000)'"


async def test_what_takes_too_much_memory_is_ended_and_nothing_else(tmp_path: Path, box: Sandbox) -> None:
    async with limited(tmp_path, Limits(memory=200 * MB), box) as bench:
        await use(bench, "shell", command="sleep 1000", background=True)
        output = await use(bench, "shell", command=HOG)
        assert output.is_error
        assert "that tools took; 0.2 GB are the limit here. Take less at once" in output.text
        assert "bg1  has been running" in (await use(bench, "background", action="list")).text
        await use(bench, "shell", command=HOG, background=True)
        await over(bench, "bg2")
        assert "0.2 GB are the limit here" in (await use(bench, "background", action="list")).text


SHARED = """python3 -c '
import os, time
x = b"x" * 100_000_000
for _ in range(9):
    if not os.fork():
        break
else:
    print("ready", flush=True)
time.sleep(1000)'"""


async def test_memory_that_processes_share_counts_once(tmp_path: Path, box: Sandbox) -> None:
    others, guard = {tree.root for tree in trees()}, Guard(None, tmp_path)
    async with workbench(tmp_path, configuration(), Tokens(fetch, lambda token: None), Secrets(), box) as bench:
        await use(bench, "shell", command=SHARED, background=True)
        await until(lambda: bench.background.job("bg1").process.capture.printed)
        found = [tree for tree in trees() if tree.root not in others]
        assert sum(tree.memory for tree in found) > 600 * MB
        assert sum(tree.exact_memory() for tree in found) < 400 * MB
        guard.look(Limits(memory=500 * MB), process.CALL_MARK)
        assert not guard.ended
        guard.look(Limits(memory=50 * MB), process.CALL_MARK)
        assert len(guard.ended) == 1


async def test_what_was_there_before_is_no_tool(tmp_path: Path) -> None:
    other = await asyncio.create_subprocess_exec("sleep", "1000")
    Guard(None, tmp_path).look(Limits(processes=0), process.CALL_MARK)
    other.terminate()
    assert await other.wait() == -signal.SIGTERM, "nothing had killed it before"


async def test_on_a_full_disk_the_one_that_writes_is_ended(tmp_path: Path, box: Sandbox) -> None:
    async with workbench(tmp_path, configuration(), Tokens(fetch, lambda token: None), Secrets(), box) as bench:
        guard = Guard(None, tmp_path)
        bench = replace(bench, guard=guard)
        await use(bench, "shell", command="sleep 1000", background=True)
        writing = f"dd if=/dev/zero of={tmp_path}/big bs=1M count=20 conv=fsync 2> /dev/null; echo written; sleep 1000"
        await use(bench, "shell", command=writing, background=True)
        await until(lambda: bench.background.job("bg2").process.capture.printed)
        guard.look(Limits(spare=1000_000 * GB), process.CALL_MARK)
        await over(bench, "bg2")
        listed = (await use(bench, "background", action="list")).text.splitlines()
        assert "bg1  has been running" in listed[0]
        assert "ended because the disk is nearly full" in listed[1]


async def test_a_file_has_a_limit(tmp_path: Path, box: Sandbox) -> None:
    async with limited(tmp_path, Limits(file=MB), box) as bench:
        output = await use(bench, "shell", command=f"head -c 5000000 /dev/zero > {tmp_path}/big")
        assert "File too large" in output.text or "File size limit exceeded" in output.text
        assert "[A file may have 0.0 GB here.]" in output.text
        assert (tmp_path / "big").stat().st_size <= MB


async def test_the_kernel_takes_tools_before_the_worker(tmp_path: Path, box: Sandbox) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    async with limited(tmp_path, Limits(), box) as bench:
        theirs = await use(bench, "shell", command="cat /proc/self/oom_score_adj")
        assert int(theirs.text.split()[0]) == max(own, FIRST_TO_GO)


MANY = """python3 -c '
import os, time
for number in range(400):
    if not os.fork():
        time.sleep(1000)
'"""


async def test_the_kernel_counts_the_processes_of_the_tools_user(agent: Path) -> None:
    chosen = sandbox.choose(agent, ())
    assert chosen.limits
    assert chosen.limits.counted
    await too_many(agent, chosen)


async def test_the_kernel_counts_the_processes_of_a_sandbox(tmp_path: Path) -> None:
    chosen = sandboxed(tmp_path)
    if not (chosen.limits and chosen.limits.counted):
        pytest.skip("not for root, and not before Linux 5.14")
    await too_many(tmp_path, chosen)


async def too_many(folder: Path, chosen: Sandbox) -> None:
    async with workbench(
        *(folder, configuration(), Tokens(fetch, lambda token: None), Secrets()),
        replace(chosen, limits=Limits(processes=200, counted=True)),
    ) as bench:
        bench.workspace.chmod(0o777)
        output = await use(bench, "shell", command=MANY)
        assert "[Errno 11] Resource temporarily unavailable" in output.text
        assert "[Tools may run 200 processes and threads here. Start fewer at once.]" in output.text
        assert (await use(bench, "shell", command="echo next")).text.startswith("next\n[exit code 0")


async def test_a_server_that_takes_too_much_is_ended_and_started_again(tmp_path: Path) -> None:
    async with running(tmp_path, {"odd": odd(tmp_path)}, guard=Guard(Limits(memory=200 * MB), tmp_path)) as rig:
        await rig.toolset.renew()
        output = await rig.use("odd__run", script=HOG)
        assert output.is_error
        assert output.text.startswith("The MCP server odd ended because it took 0.")
        assert "0.2 GB are the limit here" in output.text
        assert (await rig.use("odd__echo", text="again")).text == "again"
