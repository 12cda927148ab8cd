"""The tasks: a folder each.

task.md           the issue
repository/       what the forge has on `main`
hidden/           tests that must pass on the agent's branch
solution.patch    what the scripted model does; wrong.patch, where there is one, is not enough
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "tasks"
OWNER = "eval"
SECONDS = 60
"""The tests of a task may take; a solution may never end."""


@dataclass(frozen=True)
class Task:
    name: str

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def repository(self) -> str:
        return f"{OWNER}/{self.name}"

    @property
    def issue(self) -> tuple[str, str]:
        """Title and body."""
        title, _, body = (self.folder / "task.md").read_text().partition("\n")
        return title.removeprefix("# "), body.strip()

    def script(self, patch: str) -> str:
        """What the scripted model must be told to solve it so: it has no intelligence of its own."""
        content = (self.folder / f"{patch}.patch").read_text()
        commands = (
            f"cd {self.repository} && git switch -c fix && patch -p0 <<'PATCH'\n{content}PATCH\n"
            "git commit -qam 'Fix it'"
        )
        calls = (
            ("clone", {"repository": self.repository}),
            ("shell", {"command": commands}),
            ("pull_request", {"repository": self.repository, "title": "Fix it", "body": "Closes #1"}),
        )
        return "\n".join(f"!call {name} {json.dumps(arguments)}" for name, arguments in calls)

    def verdict(self, bare: Path, branch: str) -> str | None:
        """Why the branch does not solve the task; None if it does."""
        with tempfile.TemporaryDirectory(prefix="nightshift-eval-") as name:
            work = Path(name) / "work"
            clone = ["git", "clone", "--quiet", "--branch", branch, str(bare), str(work)]
            if problem := _failure(clone, Path(name)):
                return problem
            for folder in ("tests", "hidden"):
                if folder == "hidden":  # after the agent's own, so that nothing of its can stand in their way
                    shutil.rmtree(work / "hidden", ignore_errors=True)
                    shutil.copytree(self.folder / "hidden", work / "hidden")
                discover = [sys.executable, "-B", "-m", "unittest", "discover", "--start-directory", folder]
                if problem := _failure([*discover, "--top-level-directory", "."], work):
                    return f"{folder}: {problem}"
        return None


def every() -> list[Task]:
    return [Task(folder.name) for folder in sorted(FOLDER.iterdir())]


def _failure(command: list[str], folder: Path) -> str | None:
    """The last line of a command that fails."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} s"
    if done.returncode == 0:
        return None
    return (done.stderr.strip() or "no reason given").splitlines()[-1]
