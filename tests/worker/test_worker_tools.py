"""The tools by themselves: real files, real bash, real processes."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nightshift.models import GitHubToken
from tests.worker.conftest import configuration
from worker import process, tools
from worker.credentials import Tokens
from worker.masking import Secrets
from worker.tools import Output, Workbench

TOOLS = tools.Toolset(tools.OWN)
SECRET = "a-secret-of-the-tests"


@pytest_asyncio.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Workbench]:
    monkeypatch.setenv("SOME_TOKEN", "not for tools")

    async def fetch(repository: str) -> GitHubToken:
        return GitHubToken(token=SECRET)

    async def say(turn: int, id: str, text: str) -> None:
        pass

    secrets = Secrets(SECRET)
    yield Workbench(
        configuration(), tmp_path, "http://x/sessions/s1", secrets, Tokens(fetch, secrets.add), say
    ).prepared()
    await process.kill(process.TOOLS_MARK, str(tmp_path))


calls = 0


async def use(bench: Workbench, name: str, **arguments: Any) -> Output:
    global calls
    calls += 1
    tool = TOOLS.get(name)
    assert tool
    return await tool(json.dumps(arguments), bench.for_call(1, f"item-{calls}", f"call-{calls}"))


def test_schemas_are_strict() -> None:
    def check(schema: Any) -> None:
        if isinstance(schema, list):
            for part in schema:  # pyright: ignore[reportUnknownVariableType]
                check(part)
        elif isinstance(schema, dict):
            if "properties" in schema:
                assert schema["additionalProperties"] is False
                assert schema["required"] == list(schema["properties"])  # pyright: ignore[reportUnknownArgumentType]
            assert "default" not in schema
            for part in schema.values():  # pyright: ignore[reportUnknownVariableType]
                check(part)

    assert TOOLS.names[:4] == ["shell", "view", "edit", "create"]
    for schema in TOOLS.schemas:
        assert schema["strict"] is True
        assert schema["description"]
        check(schema["parameters"])
    title = next(schema for schema in TOOLS.schemas if schema["name"] == "set_title")["parameters"]
    assert list(title["properties"]) == ["title"], "a property called title is no keyword"


async def test_shell_keeps_folder_and_variables(bench: Workbench) -> None:
    await use(bench, "shell", command="mkdir -p 'a b' && cd 'a b' && export X=$'1\\n2' && Y=local")
    output = await use(bench, "shell", command='echo "$PWD|$X|$Y|"; exit 3')
    assert output.text == f"{bench.workspace}/a b|1\n2||\n[exit code 3; in {bench.workspace}/a b]"
    assert output.is_error
    assert bench.path("f") == bench.workspace / "a b" / "f"
    await use(bench, "shell", command="cd .. && rmdir 'a b'")
    assert (await use(bench, "shell", command="pwd")).text.startswith(f"{bench.workspace}\n")


async def test_shell_has_a_clean_environment_and_no_input(bench: Workbench) -> None:
    printed = (await use(bench, "shell", command="cat; env; git var GIT_AUTHOR_IDENT")).text
    assert "SOME_TOKEN" not in printed
    assert SECRET not in printed
    assert "GIT_TERMINAL_PROMPT=0" in printed
    assert "Nightshift <nightshift@" in printed
    hijack = await use(bench, "shell", command="export GIT_CONFIG_COUNT=0 GIT_TERMINAL_PROMPT=1")
    assert not hijack.is_error
    assert "GIT_TERMINAL_PROMPT=0" in (await use(bench, "shell", command="env")).text


async def test_shell_timeout_takes_the_children(bench: Workbench) -> None:
    command = "echo begun; sleep 1000 & setsid sleep 1001 & (trap '' TERM; sleep 1002) & sleep 1003"
    output = await use(bench, "shell", command=command, timeout_seconds=1)
    assert output.is_error
    assert output.text.startswith("begun\n")
    assert output.text.endswith("[ended after 1 s, its limit, with all its children]")
    assert process.marked(process.TOOLS_MARK, str(bench.folder)) == []


async def test_shell_does_not_wait_for_the_background(bench: Workbench) -> None:
    output = await use(bench, "shell", command="sleep 1000 & echo started")
    assert output.text.startswith("started\n")
    assert len(process.marked(process.TOOLS_MARK, str(bench.folder))) == 1


async def test_huge_output_is_cut_and_kept(bench: Workbench) -> None:
    output = await use(bench, "shell", command="echo first; yes line | head -c 5000000; echo last")
    assert len(output.text) < 31_000
    assert output.text.startswith("first\nline")
    assert "\nlast\n[exit code 0" in output.text
    kept = bench.folder / "outputs" / f"call-{calls}.txt"
    assert str(kept) in output.text
    assert kept.stat().st_size == 5_000_011


async def test_an_endless_printer_is_stopped(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LARGEST_OUTPUT", 1_000_000)
    output = await use(bench, "shell", command="yes")
    assert "because it printed more than 1 MB" in output.text


async def test_output_that_is_no_utf8(bench: Workbench) -> None:
    output = await use(bench, "shell", command=r"printf 'a\xff\xfeb\0c'")
    assert output.text.startswith("a��b\0c\n")


async def test_a_long_and_odd_command(bench: Workbench) -> None:
    long = "x" * 180_000
    output = await use(bench, "shell", command=f"V='{long}'\necho ${{#V}} \"ü\" '$&'")
    assert output.text.startswith("180000 ü $&\n")
    assert (await use(bench, "shell", command="if")).is_error


async def test_secrets_in_output_do_not_stay_in_the_file(bench: Workbench) -> None:
    output = await use(bench, "shell", command=f"echo {SECRET[:5]}''{SECRET[5:]}")
    assert output.text.startswith("[secret removed]*")
    assert all(SECRET.encode() not in path.read_bytes() for path in bench.folder.rglob("*") if path.is_file())


async def test_edit_replaces_exactly_what_is_said(bench: Workbench) -> None:
    path = bench.workspace / "f.js"
    path.write_text("const a = 'old ü';\nrest\n")
    path.chmod(0o755)
    output = await use(bench, "edit", path=str(path), old="'old ü'", new=r"'$& $1 \1 \g<0> 🚀'")
    assert not output.is_error
    assert path.read_text() == "const a = '" + r"$& $1 \1 \g<0> 🚀" + "';\nrest\n"
    assert path.stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in bench.workspace.iterdir()] == ["f.js"]


async def test_edit_keeps_line_endings_and_links(bench: Workbench) -> None:
    path, link = bench.workspace / "dos.txt", bench.workspace / "link.txt"
    path.write_bytes("\ufeffone\r\ntwo\r\nthree".encode())
    link.symlink_to(path)
    assert not (await use(bench, "edit", path="link.txt", old="one\ntwo\n", new="1\n2\n2b\n")).is_error
    assert path.read_bytes() == "\ufeff1\r\n2\r\n2b\r\nthree".encode()
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ("    return  1", "These lines look alike:\n     2\t    return 1"),
        ("nothing of the kind", "Nothing in it looks alike"),
        ("same", "occurs 2 times in"),
        ("", "`old` is empty"),
    ],
)
async def test_edit_tells_why_not(bench: Workbench, old: str, told: str) -> None:
    path = bench.workspace / "f.py"
    path.write_text("def f():\n    return 1\nsame\nsame\n")
    output = await use(bench, "edit", path="f.py", old=old, new="x")
    assert output.is_error
    assert told in output.text
    assert "line 3, 4" in output.text or old != "same"
    assert path.read_text() == "def f():\n    return 1\nsame\nsame\n"


async def test_edit_refuses_what_is_no_text(bench: Workbench) -> None:
    (bench.workspace / "b").write_bytes(b"\xff\x00")
    assert "not UTF-8" in (await use(bench, "edit", path="b", old="a", new="b")).text
    assert "no file" in (await use(bench, "edit", path="missing", old="a", new="b")).text


async def test_create_and_view(bench: Workbench) -> None:
    await use(bench, "create", path="d/new.txt", text="one\ntwo\nthree\n")
    path = bench.workspace / "d" / "new.txt"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert "exists" in (await use(bench, "create", path="d/new.txt", text="x")).text
    assert not (await use(bench, "create", path="d/new.txt", text="1\n2\n3\n", overwrite=True)).is_error
    assert (await use(bench, "view", path="d/new.txt")).text == "     1\t1\n     2\t2\n     3\t3"
    ranged = await use(bench, "view", path=str(path), first_line=2, last_line=2)
    assert ranged.text == "     2\t2\n[lines 2 to 2 of 3]"
    assert "has 3 lines" in (await use(bench, "view", path=str(path), first_line=9)).text
    assert (await use(bench, "view", path=".")).text == "d/"


async def test_an_unexpected_fault_is_told_to_the_model(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.workspace / "f"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    output = await use(bench, "edit", path="f", old="old", new="new")
    assert output.text == "edit failed: OSError: [Errno 28] No space left on device"
    assert path.read_text() == "old"
    assert list(bench.workspace.iterdir()) == [path]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
