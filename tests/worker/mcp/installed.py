"""Published servers of the protocol, installed on first use beside the Python packages."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALLED = Path(sys.prefix) / "mcp-servers"
PYTHON = ("mcp-server-git==2026.10.19", "gitpython==3.1.62", "gitdb==4.0.12", "smmap==5.0.3")
"""Without what they need besides: the same `mcp` as the worker's is there."""
OPTIONS = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def node(name: str) -> list[str]:
    """The command that starts a server of the npm packages."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("there is no node")
    wanted = (HERE / "package.json").read_text()
    INSTALLED.mkdir(exist_ok=True)
    (INSTALLED / "package.json").write_text(wanted)
    once(INSTALLED, "npm", wanted, ["npm", "install", *OPTIONS])
    return ["node", str(INSTALLED / "node_modules/@modelcontextprotocol" / name / "dist/index.js")]


def git() -> tuple[list[str], dict[str, str]]:
    """The command that starts mcp-server-git, and the environment it needs."""
    folder = INSTALLED / "python"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    once(INSTALLED, "pip", "\n".join(PYTHON), [*pip, "--upgrade", "--target", str(folder), *PYTHON])
    return [sys.executable, "-m", "mcp_server_git"], {"PYTHONPATH": str(folder)}


def once(folder: Path, name: str, wanted: str, command: list[str]) -> None:
    """Run an installing command in this folder, unless it has brought what is wanted before."""
    folder.mkdir(exist_ok=True)
    marker = folder / f"{name}.installed"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or marker.read_text() != wanted:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
            marker.write_text(wanted)
