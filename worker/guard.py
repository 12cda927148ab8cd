"""What tools may take of a computer: a fork bomb, a leak or an endless file ends the tool and nothing else.

Two ways, since neither is enough. The kernel's own limits, set before a command begins, hold at once: the size of a
file, the number of processes (where those of a sandbox are counted apart), and who goes first when memory is short.
Memory itself has none that works: Go, Java, V8 and sanitizers reserve address space by the terabyte. So the guard looks
at what all tools of this machine take together, and ends the one that takes most.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import signal
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
PAGE = os.sysconf("SC_PAGE_SIZE")
GB = 1_000_000_000
FIRST_TO_GO = 800
"""Added to what a tool takes, in thousandths of the memory, when the kernel looks for what to kill."""
_NO_PROCESS = re.compile(
    r"fork: .*(retry|unavailable)|cannot fork"
    r"|(can't|unable to|failed to|could not) (start|create|spawn)[^\n]{0,30} thread"
    r"|\bEAGAIN\b|BlockingIOError: \[Errno 11\]",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"\bEFBIG\b|file too large|file size limit exceeded", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    processes: int = 4096
    """With their threads."""
    memory: int = 3 * os.sysconf("SC_PHYS_PAGES") * PAGE // 4
    """Bytes."""
    file: int = 1000 * GB
    """Bytes of one file."""
    spare: int = 0
    """Bytes of the disk that stay free."""
    counted: bool = False
    """The kernel counts the processes of a sandbox, or of the tools' own user, apart from those of others."""

    @classmethod
    def of(cls, folder: Path) -> Limits:
        """Shares of this computer, as it is now."""
        free = shutil.disk_usage(folder).free
        return cls(file=free // 2, spare=min(GB, free // 2))

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` within the limits that the kernel keeps. What it may not set it leaves."""
        settings = [f"echo {FIRST_TO_GO} > /proc/self/oom_score_adj", f"ulimit -f {max(1, self.file // 1024)}"]
        if self.counted:
            settings.append(f"ulimit -u {self.processes}")
        return ["bash", "-c", f'{{ {"; ".join(settings)}; }} 2> /dev/null; exec "$@"', "bash", *argv]

    def advice(self, printed: str, code: int) -> str:
        """For the model, when a command failed: what it seems to have met."""
        tail = printed[-3000:]
        if _NO_PROCESS.search(tail):
            return f"Tools may run {self.processes} processes and threads here. Start fewer at once."
        if code == 128 + signal.SIGXFSZ or _TOO_LARGE.search(tail):
            return f"A file may have {self.file / GB:.1f} GB here."
        if code == 128 + signal.SIGKILL:
            return "Something killed it: perhaps the kernel, because memory was short. Take less at once."
        return ""


@dataclass
class Tree:
    """A process that the worker started, with all its children."""

    root: int
    pids: list[int] = field(default_factory=list[int])
    threads: int = 0
    memory: int = 0
    """Bytes; what processes share is counted for each of them."""

    def exact_memory(self) -> int:
        """What is shared is counted once; dearer to find out."""
        return sum(_proportional(pid) for pid in self.pids) or self.memory

    def written(self) -> int:
        """Bytes, to disks."""
        return sum(_field(f"/proc/{pid}/io", "write_bytes") for pid in self.pids)


class Guard:
    """Looks at the children that this process has from now on, and their children. Without limits it does nothing: a
    machine of Azure's is its agent's own, and its processes are another user's."""

    def __init__(self, limits: Limits | None, folder: Path) -> None:
        self._limits = limits
        self._folder = folder
        self._others = {tree.root for tree in trees()}
        """They were there before any tool."""
        self.ended: dict[str, str] = {}
        """What was ended here, and why: by the mark that it was started with."""

    async def run(self, mark: str) -> None:
        """For ever. `mark` is the variable that tells of a process which call it belongs to."""
        while self._limits:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look, self._limits, mark)

    def look(self, limits: Limits, mark: str) -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # raises if there are none, which is cheap
            tools = [tree for tree in trees() if tree.root not in self._others]
            if found := _exceeded(limits, tools, self._folder):
                tree, why = found
                name = next(filter(None, (_marked(pid, mark) for pid in tree.pids)), "")
                logger.warning("ended process %d (%s): %s", tree.root, name, why)
                self.ended[name] = why
                for pid in tree.pids:
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)


def _exceeded(limits: Limits, found: list[Tree], folder: Path) -> tuple[Tree, str] | None:
    if not found:
        return None
    if (count := sum(tree.threads for tree in found)) > limits.processes:
        most = max(found, key=lambda tree: tree.threads)
        return most, f"ended because tools ran {count} processes and threads; {limits.processes} are the limit here"
    if sum(tree.memory for tree in found) > limits.memory:
        exact = {tree.root: tree.exact_memory() for tree in found}
        if (taken := sum(exact.values())) > limits.memory:
            most = max(found, key=lambda tree: exact[tree.root])
            share = f"{exact[most.root] / GB:.1f} GB of the {taken / GB:.1f} GB"
            return most, (
                f"ended because it took {share} that tools took; {limits.memory / GB:.1f} GB are the limit here. Take"
                " less at once: smaller pieces, fewer workers"
            )
    if (free := shutil.disk_usage(folder).free) < limits.spare:
        most = max(found, key=Tree.written)
        return most, (
            f"ended because the disk is nearly full ({free / GB:.1f} GB are free) and it wrote most. Remove what is not"
            " needed first"
        )
    return None


def trees() -> list[Tree]:
    """As they stand. What was orphaned outside of a sandbox is not among them."""
    children: dict[int, list[int]] = defaultdict(list)
    taken: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()  # a name may hold anything; see proc_pid_stat(5)
                children[int(fields[1])].append(int(name))
                taken[int(name)] = int(fields[17]), int(fields[21]) * PAGE
    found = [Tree(root) for root in children[os.getpid()]]
    for tree in found:
        left = [tree.root]
        while left:
            pid = left.pop()
            threads, memory = taken[pid]
            tree.pids.append(pid)
            tree.threads += threads
            tree.memory += memory
            left += children[pid]
    return found


def _proportional(pid: int) -> int:
    return _field(f"/proc/{pid}/smaps_rollup", "Pss") * 1024


def _field(path: str, name: str) -> int:
    with suppress(OSError), open(path) as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


def _marked(pid: int, variable: str) -> str:
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for each in file.read().split(b"\0"):
            if each.startswith(f"{variable}=".encode()):
                return os.fsdecode(each.partition(b"=")[2])
    return ""
