"""Finding files and text: with ripgrep where it is, without it everywhere."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.worker.conftest import use
from worker.inside import walk
from worker.tools import Workbench

PLANT = """
git init -q r; cd r; mkdir -p src/deep ignored node_modules; printf 'ignored\\n*.log\\n' > .gitignore
printf 'one\\nTwo $x.y\\nthree\\nfour\\nfive $x.y\\n' > src/a.py; printf 'two\\r\\nzwei\\r\\n' > 'src/deep/b c.txt'
echo two > ignored/x.py; echo two > y.log; printf 'two\\0' > src/binary; echo two > .hidden; git add src
git init -q inner; echo '*.tmp' > inner/.gitignore; echo two > inner/in.py; echo two > inner/no.tmp
mkdir -p ../plain/node_modules; echo two > ../plain/p.py; echo two > ../plain/node_modules/n.js
"""


@pytest.fixture(params=["ripgrep", "python"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before `bench`, whose tools take over PATH."""
    if request.param == "ripgrep":
        if not shutil.which("rg"):
            pytest.skip("ripgrep is not there (Debian: install ripgrep)")
        return
    (tmp_path / "bin").mkdir()
    for name in ("git", "bash", "env", "true", "mkdir", "bwrap"):
        if program := shutil.which(name):
            (tmp_path / "bin" / name).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
async def planted(engine: None, bench: Workbench) -> Workbench:
    output = await use(bench, "shell", command=PLANT)
    assert not output.is_error, output.text
    return bench


async def test_what_git_ignores_is_not_found(planted: Workbench) -> None:
    output = await use(planted, "search", pattern="two", ignore_case=True)
    assert output.text == (
        ".hidden\n     1: two\n\ninner/in.py\n     1: two\n\nsrc/a.py\n     2: Two $x.y\n\n"
        "src/deep/b c.txt\n     1: two\n\n[4 matches in 4 files]"
    )
    assert "[1 matches in 1 files]" in (await use(planted, "search", pattern="two", path="ignored")).text
    assert (await use(planted, "search", pattern="nowhere to be found")).text == "[nothing found]"


async def test_patterns_globs_and_context(planted: Workbench) -> None:
    output = await use(planted, "search", pattern="$x.y", literal=True, path="src", glob="*.py", context_lines=1)
    assert output.text == (
        "a.py\n     1- one\n     2: Two $x.y\n     3- three\n     4- four\n     5: five $x.y\n\n[2 matches in 1 files]"
    )
    apart = await use(planted, "search", pattern="^one|five", path="src/a.py", context_lines=1)
    assert "     2- Two $x.y\n    --\n     4- four\n" in apart.text
    broken = await use(planted, "search", pattern="(")
    assert broken.is_error
    assert "regex parse error" in broken.text
    assert "There is no" in (await use(planted, "search", pattern="x", path="missing")).text


async def test_files_are_found_by_name_and_path(planted: Workbench) -> None:
    assert (await use(planted, "find_files", pattern="*.py")).text == "inner/in.py\nsrc/a.py"
    assert (await use(planted, "find_files", pattern="src/**/*.txt")).text == "src/deep/b c.txt"
    assert (await use(planted, "find_files", pattern="*.py", path="..")).text == "plain/p.py\nr/inner/in.py\nr/src/a.py"
    assert (await use(planted, "find_files", pattern="*.nothing")).text == "[nothing found]"


async def test_what_is_left_out_is_counted(planted: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["worker.tools.search"]
    monkeypatch.setattr(module, "MOST_MATCHES", 3)
    monkeypatch.setattr(module, "MOST_FILES", 3)
    await use(planted, "shell", command="cd src; for i in {1..9}; do echo $'needle\\nneedle' > n$i; done")
    found = await use(planted, "search", pattern="needle")
    assert found.text.endswith("[18 matches in 9 files; 15 of them left out: narrow it by path, glob or pattern]")
    assert found.text.count("needle") == 3
    assert (await use(planted, "find_files", pattern="n*")).text.endswith(
        "n3\n[6 more left out: narrow it by path or pattern]"
    )


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("x")
    answer = walk.find({"path": str(tmp_path), "pattern": "*.txt", "most": 10})
    assert answer["paths"] == [os.path.join(tmp_path, os.fsdecode(b"\xff.txt"))]
