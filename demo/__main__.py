"""The main job, start to end, on this machine: no account and no key.

A local forge holds a sample repository with a bug, a scripted model plays the agent's part, and everything
else is Nightshift itself. With OPENAI_API_KEY or OPENAI_BASE_URL set, that model is used instead of the scripted one;
with GITHUB_TOKEN set (and NIGHTSHIFT_DEMO_REPO=owner/name, NIGHTSHIFT_DEMO_ISSUE=number), that forge. With
AZURE=emulated everything else runs as it does in Azure (demo/emulated.py), and GitHub knows the agent as an App.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.client import ApiError, Client
from cli.follow import Follower
from cli.up import log_to_terminal, prepare_environment, running
from demo.forge import Forge
from demo.model import MODELS, ScriptedModel
from demo.sample import NAME, OWNER, plant
from embedded.errors import StartError
from nightshift.errors import Permanent

QUICK = {"NIGHTSHIFT_IDLE": "3", "NIGHTSHIFT_POLL": "0.3"}  # seconds here, half an hour in earnest
LATENCY = 0.15
"""Seconds a scripted answer takes, so that people can watch."""
FOLLOW_UP = "Please also note the fix in CHANGELOG.md."
PATIENCE = 120.0
"""Seconds any one stage of the demo may take before it is given up as broken."""


class DemoFailed(Exception):
    """What was promised did not happen."""


@dataclass(frozen=True)
class Job:
    """What the agent is asked to do, and where."""

    repository: str
    issue: int
    forge: Forge | None
    """None when a real forge is used."""


async def main(console: Console) -> None:
    with tempfile.TemporaryDirectory(prefix="nightshift-demo-") as folder:
        async with AsyncExitStack() as stack:
            root = Path(folder)
            job = await _forge(stack, root / "forge", console, as_app=_emulated())
            await _model(stack, console)
            check_azure = await _azure(stack, root / "azure", console)
            os.environ.update({name: os.environ.get(name, value) for name, value in QUICK.items()})
            port = _free_port()
            os.environ.setdefault("NIGHTSHIFT_URL", f"http://127.0.0.1:{port}")
            prepare_environment(port, root / "var")
            await stack.enter_async_context(running(port))
            client = await stack.enter_async_context(Client())
            console.rule(f"Nightshift on {client.url}")
            await _play(client, job, console)
            check_azure()


def _emulated() -> bool:
    where = os.environ.get("AZURE", "")
    _require(where in ("", "emulated"), f"AZURE is '{where}': say AZURE=emulated, or nothing for this machine alone")
    return bool(where)


async def _azure(stack: AsyncExitStack, root: Path, console: Console) -> Callable[[], None]:
    """What there is to check at the end."""
    if not _emulated():
        return lambda: None
    from demo.emulated import azure  # not before: on this machine alone nobody should wait for Azure's libraries

    arm = await stack.enter_async_context(azure(root, console))

    def check() -> None:
        """Of the resource manager nothing was asked but what Microsoft's own models of its API allow."""
        _require(not arm.problems, "what the resource manager does not know:\n" + "\n".join(arm.problems))
        asked = Counter(exchange.operation for exchange in arm.journal)
        once, again = asked["VirtualMachines_CreateOrUpdate"] == 1, asked["VirtualMachines_Start"] >= 1
        _require(once and again, f"one machine was to be made, and started again: {asked}")
        console.print(
            f"  {'azure':<15} {len(arm.journal)} requests to the resource manager, all valid", highlight=False
        )

    return check


async def _play(client: Client, job: Job, console: Console) -> None:
    task = f"Fix issue #{job.issue} of {job.repository} and open a pull request."
    started = await client.start(task, job.repository, None)
    console.print(f"session {started['id']}  {client.url}/sessions/{started['id']}", highlight=False)
    follower = Follower(client, started["id"], console)
    session = await follower.until_answered(PATIENCE)
    _require(session["phase"] != "failed", f"the session failed: {session['failure']}")
    _require(len(session["pull_requests"]) == 1, "one pull request was to be opened")
    head = await _check_branch(job, console)

    console.rule("nobody says anything: the machine is deallocated")
    session = await follower.until(lambda each: each["phase"] == "stopped", PATIENCE)

    console.rule("a second message wakes it")
    await client.send(started["id"], FOLLOW_UP)
    session = await follower.until_answered(PATIENCE)
    _require(session["generation"] >= 2, "the machine was to be started again")
    _require(len(session["pull_requests"]) == 1, "the same pull request was to be updated")
    _require(await _check_branch(job, console) != head or job.forge is None, "the pull request was to get a commit")

    console.rule("done")
    _summary(session, started, console)


def _summary(session: dict[str, Any], started: dict[str, Any], console: Console) -> None:
    usage = session["usage"]
    tokens = usage["tokens"]
    cost = "unpriced" if usage["cost_usd"] is None else f"${usage['cost_usd']:.4f}"
    for name, value in (
        ("phase", session["phase"]),
        ("turns", session["turns"]),
        ("machine starts", session["generation"]),
        (
            "tokens",
            f"{tokens['input']} in ({tokens['cached']} cached), {tokens['output']} out, {tokens['calls']} calls",
        ),
        ("cost", cost),
        ("pull request", session["pull_requests"][0]["url"]),
        ("status", started["durable"]["statusQueryGetUri"].split("?")[0]),
    ):
        console.print(f"  {name:<15} {value}", highlight=False, soft_wrap=True)


async def _forge(stack: AsyncExitStack, root: Path, console: Console, *, as_app: bool) -> Job:
    if os.environ.get("GITHUB_TOKEN"):
        repository, issue = os.environ.get("NIGHTSHIFT_DEMO_REPO"), os.environ.get("NIGHTSHIFT_DEMO_ISSUE")
        if not repository or not issue:
            raise DemoFailed(
                "GITHUB_TOKEN is set: name the work as well, NIGHTSHIFT_DEMO_REPO=owner/name NIGHTSHIFT_DEMO_ISSUE=1"
            )
        return Job(repository, int(issue), None)
    forge = Forge(root)
    await forge.start()
    stack.push_async_callback(forge.stop)
    await plant(forge)
    if as_app:
        app, key = forge.add_app()
        forge.install(app, [f"{OWNER}/{NAME}"])
        os.environ |= {"GITHUB_APP_ID": app, "GITHUB_APP_PRIVATE_KEY": key}
    else:
        os.environ["GITHUB_TOKEN"] = forge.add_token("nightshift-agent")
    os.environ["GITHUB_API_URL"] = forge.api_url
    console.print(f"local forge     {forge.url}", highlight=False)
    return Job(f"{OWNER}/{NAME}", 1, forge)


async def _model(stack: AsyncExitStack, console: Console) -> None:
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        console.print("model           yours, from OPENAI_BASE_URL / OPENAI_API_KEY", highlight=False)
        return
    model = ScriptedModel(latency=LATENCY)
    await model.start()
    stack.push_async_callback(model.stop)
    os.environ |= {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "any-key-will-do", "NIGHTSHIFT_MODEL": MODELS[0]}
    console.print("model           scripted: it plays a fixed part, there is no intelligence in it", highlight=False)


async def _check_branch(job: Job, console: Console) -> str:
    """Clone the pull request's branch and run the sample's tests there. Returns its head."""
    if job.forge is None:
        return ""
    pulls = await job.forge.pull_requests(OWNER, NAME)
    _require(len(pulls) == 1, f"the forge was to hold one pull request, it holds {len(pulls)}")
    _, pull = pulls[0]
    folder = Path(tempfile.mkdtemp(prefix="nightshift-check-"))
    try:
        bare = job.forge.state.git(job.repository).path
        await _run("git", "clone", "--quiet", "--branch", pull.head_ref, str(bare), str(folder / "it"))
        await _run(sys.executable, "-m", "unittest", "--quiet", cwd=folder / "it")
    finally:
        shutil.rmtree(folder)
    console.print(f"  [green]✓[/] branch {pull.head_ref}: the sample's tests pass", highlight=False)
    return pull.head_sha


async def _run(*command: str, cwd: Path | None = None) -> None:
    done = await asyncio.to_thread(subprocess.run, command, cwd=cwd, capture_output=True, text=True, check=False)
    _require(done.returncode == 0, f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    output = Console()
    log_to_terminal(logging.CRITICAL)  # what goes wrong is told below; the rest would stand between the lines
    try:
        asyncio.run(main(output))
    except (DemoFailed, ApiError, StartError, Permanent, TimeoutError) as error:
        output.print(f"[red]The demo failed:[/] {error or 'it took too long'} {getattr(error, 'advice', '')}")
        sys.exit(1)
