"""What a step of the agent costs: one model call and one shell command, with a model that answers at once.

Nightshift is the whole product: its control plane in a process of its own, each step durable before the next. The
others are published agents in environments of their own, made on first use. All meet the same server, one after the
other. `python -m bench.loop STEPS` prints this alone, `python -m bench.loop STEPS nightshift mini` these agents alone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.answers import Answers, cached

ROOT = Path(__file__).parents[1]
RIVALS = Path(sys.prefix) / "rivals"
MINI = ("mini-swe-agent==2.4.6", "mcp==2.3.0")
"""Its litellm asks for `mcp` as soon as there are tools, and does not say so."""
OPENHANDS = ("openhands-sdk==1.49.1", "openhands-tools==1.49.1")
PATIENCE = 300.0
"""Seconds until an agent that does not come to its end is given up."""


@dataclass(frozen=True)
class Figures:
    step: float
    """Seconds between two model calls, from the third on."""
    cpu: float
    """Of a step: seconds of the agent's process, without the commands that it runs."""
    host_cpu: float
    """Of a step: seconds of its control plane's process."""
    start: float
    """Seconds from the start of the process to its first model call."""
    resident: int
    """Bytes, when all steps are done."""
    requests: int
    sent: int
    """Bytes of all requests."""
    cached: float


class Meter:
    """Looks at the processes when the third step and when the last one is asked for."""

    def __init__(self, answers: Answers, agent: Callable[[], psutil.Process], host: int | None = None) -> None:
        self._looks: list[tuple[float, float]] = []
        self._answers = answers
        self._agent = agent
        self._host = psutil.Process(host) if host else None
        answers.at_third, answers.before_end = self._look, self._look

    def _look(self) -> None:
        agent = self._agent()
        self._started, self._resident = _started(agent), agent.memory_info().rss
        self._looks.append((_cpu(agent), _cpu(self._host) if self._host else 0.0))

    def figures(self) -> Figures:
        asked = self._answers.asked
        steps = len(asked) - 3
        (agent_then, host_then), (agent_now, host_now) = self._looks
        return Figures(
            step=(asked[-1].at - asked[2].at) / steps,
            cpu=(agent_now - agent_then) / steps,
            host_cpu=(host_now - host_then) / steps,
            start=asked[0].at - self._started,
            resident=self._resident,
            requests=len(asked),
            sent=sum(len(each.body) for each in asked),
            cached=cached(asked),
        )


def _started(process: psutil.Process) -> float:
    """By the clock, within a hundredth of a second. psutil takes the boot's time from the kernel, which has it in whole
    seconds, and so may be one off."""
    ticks = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def _cpu(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def nightshift(folder: Path, steps: int) -> Figures:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with Answers(steps) as answers:
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ} | {
            "OPENAI_BASE_URL": answers.url,
            "OPENAI_API_KEY": "any",
            "NIGHTSHIFT_MAX_STEPS": str(2 * steps),
        }
        command = [sys.executable, "-m", "cli", "up", "--port", str(port), "--data", str(folder / "var")]
        with (folder / "nightshift.log").open("wb") as log:
            host = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log)  # noqa: S603
        try:
            assert host.stdout
            assert b"Nightshift is on" in host.stdout.readline(), (folder / "nightshift.log").read_text()
            meter = Meter(answers, lambda: _worker(host), host.pid)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
                session = http.post("/api/sessions", json={"message": "Count, again and again."}).json()["id"]
                _until(lambda: http.get(f"/api/sessions/{session}").json()["answered_seq"] > 0)
        finally:
            host.send_signal(signal.SIGTERM)
            host.communicate()
        return meter.figures()


def mini(folder: Path, steps: int, *, keep: bool = True) -> Figures:
    script = ROOT / "bench" / "rivals" / "mini.py"
    kept = str(folder / "trajectory.json") if keep else ""
    with Answers(steps, last_command="echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT") as answers:
        return _rival(installed("mini-swe-agent", MINI), [str(script), answers.url, kept], folder, answers)


def openhands(folder: Path, steps: int) -> Figures:
    script = ROOT / "bench" / "rivals" / "hands.py"
    with Answers(steps) as answers:
        return _rival(installed("openhands", OPENHANDS), [str(script), answers.url, str(folder)], folder, answers)


def installed(name: str, wanted: Sequence[str]) -> Path:
    """The Python of the rival's own environment. Raises CalledProcessError where it cannot be installed."""
    folder = RIVALS / name
    marker = folder / "installed"
    if not marker.exists() or marker.read_text() != "\n".join(wanted):
        print(f"installing {' '.join(wanted)} (once; some minutes) ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted], check=True)  # noqa: S603
        marker.write_text("\n".join(wanted))
    return folder / "bin" / "python"


def _rival(python: Path, arguments: list[str], folder: Path, answers: Answers) -> Figures:
    own = {"PATH": os.environ["PATH"], "HOME": str(folder), "MSWEA_SILENT_STARTUP": "1", "MSWEA_CONFIGURED": "true"}
    with (folder / "rival.log").open("wb") as log:
        process = subprocess.Popen([str(python), *arguments], cwd=folder, env=own, stdout=log, stderr=log)  # noqa: S603
        meter = Meter(answers, lambda: psutil.Process(process.pid))
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
    if len(answers.asked) <= answers.steps:
        raise RuntimeError((folder / "rival.log").read_text()[-3000:])
    return meter.figures()


def _worker(host: subprocess.Popen[bytes]) -> psutil.Process:
    for process in psutil.Process(host.pid).children(recursive=True):
        command: list[str] = process.cmdline()
        if command[1:3] == ["-m", "worker"]:
            return process
    raise RuntimeError("there is no worker")


def _until(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the agent did not come to its end")
        time.sleep(0.3)


def show(steps: int, only: Sequence[str] = ()) -> None:
    """`only`: agents whose names begin with one of these; all of them otherwise."""
    agents: dict[str, Callable[[Path, int], Figures]] = {
        "Nightshift": nightshift,
        "mini-swe-agent": mini,
        "  keeping nothing": partial(mini, keep=False),
        "openhands-sdk": openhands,
    }
    if only:
        agents = {name: run for name, run in agents.items() if name.lower().startswith(tuple(only))}
    heads = zip(
        ("step", "CPU", "host CPU", "start", "resident", "sent", "cached"), (9, 9, 11, 9, 11, 9, 8), strict=True
    )
    print(f"\n{f'{steps} steps':<20}" + "".join(f"{head:>{width}}" for head, width in heads))
    for name, run in agents.items():
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            try:
                it = run(Path(folder), steps)
            except subprocess.CalledProcessError:
                print(f"{name:<20} cannot be installed here")
                continue
        print(
            f"{name:<20}{it.step * 1000:6.1f} ms{it.cpu * 1000:6.1f} ms{it.host_cpu * 1000:8.1f} ms{it.start:7.2f} s"
            f"{it.resident / 1e6:8.0f} MB{it.sent / 1e6:6.1f} MB{it.cached:8.1%}",
            flush=True,
        )


if __name__ == "__main__":
    show(int(sys.argv[1]) if len(sys.argv) > 1 else 50, sys.argv[2:])
