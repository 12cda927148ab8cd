"""Servers that somebody else wrote: installed on first use, and run until nobody needs them any more."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PLACE = Path(sys.prefix)
"""Beside the Python packages: made and removed with them, and ignored by git as they are."""
_NPM = ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_PIP = ("pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade")
_SAYS = re.compile(r"listen(?:s|ing) on (https?://127\.0\.0\.1:\d+)")


def has_node() -> bool:
    return bool(shutil.which("node") and shutil.which("npm"))


def npm(folder: Path, package_json: Path) -> Path:
    """The `node_modules` of what a package.json asks for."""
    wanted = package_json.read_text()

    def prepare() -> Sequence[str]:
        (folder / "package.json").write_text(wanted)
        return _NPM

    _once(folder, "npm", wanted, prepare)
    return folder / "node_modules"


def pip(folder: Path, packages: Sequence[str]) -> Path:
    """A folder for PYTHONPATH with these packages, and without what they depend on."""
    command = (sys.executable, "-m", *_PIP, "--target", str(folder / "python"), *packages)
    _once(folder, "pip", "\n".join(packages), lambda: command)
    return folder / "python"


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> Generator[str]:
    """Runs a server; yields the URL that it says it listens on. Raises RuntimeError with its words if it ends first."""
    with subprocess.Popen(
        [str(each) for each in command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        said: list[str] = []
        try:
            for line in process.stdout:
                said.append(line)
                if found := _SAYS.search(line):
                    break
            else:
                raise RuntimeError(f"{' '.join(map(str, command))} ended:\n{''.join(said)}")
            # What it says later must go somewhere, or it would stop at a full pipe.
            rest = threading.Thread(target=deque, args=(process.stdout, 0))
            rest.start()
            try:
                yield found[1]
            finally:
                process.terminate()
                rest.join()
        finally:
            process.terminate()


def _once(folder: Path, name: str, wanted: str, prepare: Callable[[], Sequence[str]]) -> None:
    """Run an installing command in this folder, unless it has brought what is wanted before. One process at a time."""
    folder.mkdir(exist_ok=True)
    marker = folder / f"{name}.installed"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or marker.read_text() != wanted:
            command = prepare()
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command)} in {folder} failed:\n{done.stderr[-2000:]}")
            marker.write_text(wanted)
