"""Published servers of the protocol, installed on first use beside the Python packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nightshift.testing.installing import PLACE, has_node, npm, pip

HERE = Path(__file__).parent
INSTALLED = PLACE / "mcp-servers"
PYTHON = ("mcp-server-git==2026.10.19", "gitpython==3.1.62", "gitdb==4.0.12", "smmap==5.0.3")
"""Without what they need besides: the same `mcp` as the worker's is there."""


def node(name: str) -> list[str]:
    """The command that starts a server of the npm packages."""
    if not has_node():
        pytest.skip("there is no node")
    return ["node", str(npm(INSTALLED, HERE / "package.json") / "@modelcontextprotocol" / name / "dist/index.js")]


def git() -> tuple[list[str], dict[str, str]]:
    """The command that starts mcp-server-git, and the environment it needs."""
    return [sys.executable, "-m", "mcp_server_git"], {"PYTHONPATH": str(pip(INSTALLED, PYTHON))}
