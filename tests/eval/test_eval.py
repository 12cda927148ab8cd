"""The harness, with the scripted model: what is solved counts as solved, and what only looks so does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eval.task import Task, every

ROOT = Path(__file__).parents[2]


def evaluate(*arguments: str) -> tuple[int, str]:
    """Without a model or a token of whoever runs the tests."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    command = [sys.executable, "-m", "eval", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    print(done.stdout, done.stderr)
    return done.returncode, done.stdout


def test_scripted_solutions_are_solved() -> None:
    code, printed = evaluate("spans", "table")
    assert code == 0
    assert "2 of 2 solved, 8 calls" in printed


def test_a_patch_that_is_not_enough_is_not_solved() -> None:
    code, printed = evaluate("--patch", "wrong", "spans")
    assert code == 1
    assert "hidden: FAILED (failures=1)" in printed
    assert "0 of 1 solved" in printed


@pytest.mark.parametrize("task", every(), ids=lambda task: task.name)
def test_each_solution_is_one_and_the_bug_is_there(task: Task, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=eval", "-c", "user.email=eval@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    shutil.copytree(task.folder / "repository", tmp_path, dirs_exist_ok=True)
    git("init", "--initial-branch", "main")
    git("add", ".")
    git("commit", "--message", "The bug")
    git("switch", "--create", "fix")
    with (task.folder / "solution.patch").open() as patch:
        subprocess.run(["patch", "-p0"], stdin=patch, cwd=tmp_path, check=True, capture_output=True)
    git("commit", "--all", "--message", "The fix")
    assert (task.verdict(tmp_path, "main") or "").startswith("hidden: FAILED")
    assert task.verdict(tmp_path, "fix") is None
