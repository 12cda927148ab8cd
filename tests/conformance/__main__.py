"""Microsoft's own end-to-end tests of Durable Task, with this hub and this host in the place of theirs.

    git clone https://github.com/microsoft/durabletask-python
    make conformance CHECKOUT=durabletask-python

The tests of `durabletask` get the task hub where they ask for an in-memory backend; those of `azure-functions-durable`,
whose sample apps want `func start`, get `python -m embedded start`. The checkout is left as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from nightshift.testing.emulators import servers
from nightshift.testing.installing import running

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FUNC = f"""#!/bin/sh
exec {sys.executable} -m embedded start --app-dir . --port "$3"  # func start --port PORT
"""
STORAGE = ("azurite/dist/src/blob/main.js", "--blobPort", "10000", "--inMemoryPersistence", "--silent")
"""Where `UseDevelopmentStorage=true` points."""
PRIVATE = "tests/durabletask/test_delayed_signal_normalization.py::TestDelayedTimerLifecycle"
"""Calls a private method of the in-memory backend."""


def main(checkout: Path) -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
        shutil.copytree(checkout / "tests", folder / "tests")
        for app in folder.glob("tests/azure-functions-durable/e2e/apps/*/host.json"):
            app.with_name(".venv").symlink_to(sys.prefix)  # it looks whether there is one
        func = folder / "bin" / "func"
        func.parent.mkdir()
        func.write_text(FUNC)
        func.chmod(0o700)
        if modules := servers.installed():
            stack.enter_context(running(["node", str(modules / STORAGE[0]), *STORAGE[1:]]))
        suites = [
            path.relative_to(folder)
            for path in sorted(folder.glob("tests/durabletask/**/test_*.py"))
            if "create_test_backend" in path.read_text("utf-8")
        ]
        options = ("-p", "standins", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-W", "ignore", "-q", "-rs")
        command = (sys.executable, "-m", "pytest", *options, f"--deselect={PRIVATE}", *suites)
        environment = os.environ | {
            "PATH": f"{func.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",
        }
        return subprocess.run(
            [*command, "tests/azure-functions-durable/e2e"], cwd=folder, env=environment, check=False
        ).returncode


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1], "tests/durabletask").is_dir():
        sys.exit("make conformance CHECKOUT=FOLDER: a clone of https://github.com/microsoft/durabletask-python")
    sys.exit(main(Path(sys.argv[1]).absolute()))
