"""Ends processes. Run with the arguments NAME VALUE: those that were started with this variable in their environment.

The group alone is not enough: a child may leave it, and a worker that was killed forgets its groups. So a process is
found by its environment (Linux: /proc), by a user who may look at it.
"""

import os
import signal
import sys
import time

GRACE = 0.6
"""Seconds between SIGTERM and SIGKILL."""
UNKILLABLE = 10.0
"""Seconds after which a process that survives SIGKILL (it waits for a disk) is left to the kernel."""


def end(name: str, value: str) -> list[int]:
    """SIGTERM, then SIGKILL. Returns those that are still there.

    bubblewrap's own processes are only killed: it would end at once and take the others along, unasked.
    """
    if not marked(name, value):
        return []
    deadline = time.monotonic()
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, UNKILLABLE)):
        deadline += patience
        _signal(name, value, number)
        while marked(name, value) and time.monotonic() < deadline:
            time.sleep(0.02)
            if number is signal.SIGKILL:  # what was forked meanwhile
                _signal(name, value, number)
    return marked(name, value)


def marked(name: str, value: str) -> list[int]:
    """Ids of the living processes with this variable, this one excepted."""
    wanted = f"{name}={value}".encode()
    found: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open(f"/proc/{entry}/environ", "rb", buffering=0) as file:  # of hundreds, after each command
                    told = file.read()
                if wanted in told and wanted in told.split(b"\0"):
                    found.append(int(entry))
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue  # another user's, or it ended while we looked: not ours to end
    return found


def _signal(name: str, value: str, number: signal.Signals) -> None:
    for pid in marked(name, value):
        try:
            if number is signal.SIGKILL or not os.readlink(f"/proc/{pid}/exe").endswith("/bwrap"):
                os.kill(pid, number)
        except (ProcessLookupError, PermissionError, FileNotFoundError):
            continue


if __name__ == "__main__":
    if left := end(sys.argv[1], sys.argv[2]):
        sys.exit(f"processes {left} do not end, not even by SIGKILL")
