"""The shell, with and without a sandbox: real bash, real processes."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path

import psutil
import pytest

from tests.worker.conftest import SECRET, until, use
from worker import asking, outputs, process
from worker.inside import end
from worker.tools import Output, Workbench
from worker.tools.text import LIMIT


async def run(bench: Workbench, command: str, timeout_seconds: int | None = None) -> Output:
    return await use(bench, "shell", command=command, timeout_seconds=timeout_seconds)


def left(bench: Workbench) -> list[int]:
    return process.marked(process.TOOLS_MARK, str(bench.folder))


async def test_folder_and_variables_are_kept(bench: Workbench) -> None:
    await run(bench, "mkdir -p 'a b' && cd 'a b' && export X=$'1\\n2' && Y=local")
    output = await run(bench, 'echo "$PWD|$X|$Y|"; exit 3')
    assert output.text == f"{bench.workspace}/a b|1\n2||\n[exit code 3; in {bench.workspace}/a b]"
    assert output.is_error
    assert bench.path("f") == bench.workspace / "a b" / "f"


async def test_functions_aliases_and_removed_variables_are_kept_but_not_options(bench: Workbench) -> None:
    await run(bench, "f() { echo \"f: $1\"; }; alias g='f two'; shopt -s expand_aliases; export A=1 B=1; set -eu")
    output = await run(bench, "f one\ng\nunset A\nfalse\necho still here")
    assert output.text.startswith("f: one\nf: two\nstill here\n")
    await run(bench, "g")
    assert (await run(bench, 'g; echo "${A-gone} $B"')).text.startswith("f: two\ngone 1\n")


async def test_a_trap_and_positional_arguments_of_the_command_do_not_lose_the_state(bench: Workbench) -> None:
    output = await run(bench, "set -- 1 2; trap 'echo trapped' EXIT; mkdir d; cd d; export K=v; exit 0")
    assert output.text.startswith("trapped\n")
    await run(bench, "set -- 1 2; trap 'echo trapped' EXIT; mkdir d; cd d; export K=v")
    assert (await run(bench, "echo $K")).text == f"v\n[exit code 0; in {bench.workspace}/d]"


async def test_a_folder_that_is_gone(bench: Workbench) -> None:
    await run(bench, "mkdir d; cd d; rmdir ../d")
    output = await run(bench, "pwd")
    assert output.text.startswith(f"[that folder is gone; this is {bench.workspace}]\n{bench.workspace}\n")
    await run(bench, f"rm -rf {bench.workspace}")
    assert f"in {bench.folder}]" in (await run(bench, "true")).text


async def test_a_state_that_a_killed_command_left(bench: Workbench) -> None:
    await run(bench, "export X=before; mkdir d; cd d")
    await run(bench, "export X=after; kill -9 $$")
    assert (await run(bench, "echo $X")).text == f"before\n[exit code 0; in {bench.workspace}/d]"


async def test_a_clean_environment_and_no_input(bench: Workbench) -> None:
    printed = (await run(bench, "cat; env; git var GIT_AUTHOR_IDENT; tty; [ -t 0 ] || echo no terminal")).text
    assert "SOME_TOKEN" not in printed
    assert SECRET not in printed
    assert "GIT_TERMINAL_PROMPT=0" in printed
    assert "TERM=dumb" in printed
    assert "Nightshift <nightshift@" in printed
    assert "not a tty\nno terminal" in printed
    hijack = await run(bench, "export GIT_CONFIG_COUNT=0 GIT_TERMINAL_PROMPT=1")
    assert not hijack.is_error
    assert "GIT_TERMINAL_PROMPT=0" in (await run(bench, "env")).text


async def test_the_limit_takes_the_children(bench: Workbench) -> None:
    command = "echo begun; sleep 1000 & setsid sleep 1001 & (trap '' TERM; sleep 1002) & sleep 1003"
    output = await run(bench, command, timeout_seconds=2)
    assert output.is_error
    assert output.text.endswith("[ended after 2 s, its limit, with all its children]")
    assert left(bench) == []


async def test_a_command_has_time_to_clean_up(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end, "GRACE", 20.0)
    ready, cleaned = bench.folder / "ready", bench.folder / "cleaned"
    command = f"trap 'touch {cleaned}; exit' TERM; touch {ready}; while :; do sleep 0.05; done"
    call = asyncio.create_task(run(bench, command))
    await until(ready.exists)
    call.cancel()
    await asyncio.wait({call})
    assert cleaned.exists()


@pytest.mark.parametrize(
    "command",
    [
        "sleep 1000 & echo started",
        "for i in 1 2 3 4 5 6 7 8 9 10; do (while :; do sleep 1; done) & done; echo started",
        "setsid -f sleep 1000 < /dev/null > /dev/null 2>&1; echo started",
        "(while echo noise; do sleep 0.01; done) & echo started",
        "nohup python3 -c 'import time; time.sleep(1000)' & disown; echo started",
    ],
    ids=["sleep", "ten", "setsid", "noise", "nohup"],
)
async def test_what_a_command_leaves_is_ended_with_it(bench: Workbench, command: str) -> None:
    output = await run(bench, command)
    assert "started\n" in output.text
    assert "exit code 0" in output.text
    assert "setsid" in command or "disown" in command or "Set `background`" in output.text
    assert left(bench) == []
    assert "Set `background`" not in (await run(bench, "true")).text


async def test_a_cancelled_call_leaves_nothing(bench: Workbench) -> None:
    ready = bench.folder / "ready"
    command = f"(trap '' TERM; sleep 1000) & setsid sleep 1001 & touch {ready}; sleep 1002"
    call = asyncio.create_task(run(bench, command))
    await until(ready.exists)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert left(bench) == []


async def test_a_cancelled_call_leaves_nothing_however_early(bench: Workbench) -> None:
    for pause in (0, 0, 0.001, 0.003, 0.01, 0.02, 0.04):
        call = asyncio.create_task(run(bench, "sleep 1000 & sleep 1001"))
        await asyncio.sleep(pause)
        call.cancel()
        await asyncio.wait({call})
        assert left(bench) == []


async def test_huge_output_is_cut_and_kept(bench: Workbench) -> None:
    output = await run(bench, "echo first; yes line | head -c 5000000; echo last")
    assert len(output.text) < LIMIT + 1000
    assert output.text.startswith("first\nline")
    assert "\nlast\n[exit code 0" in output.text
    (kept,) = [path for path in bench.outputs.path.glob("call-*.txt") if path.stat().st_size > 1_000_000]
    assert str(kept) in output.text
    assert kept.stat().st_size == 5_000_011
    read = await run(bench, f"tail -1 {kept}; wc -c < {kept}")
    assert read.text.startswith("last\n5000011\n")


async def test_the_file_has_a_limit_and_keeps_the_end(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "KEPT", 1_000_000)
    output = await run(bench, "yes line | head -c 3000000; echo last")
    assert "\nlast\n[exit code 0" in output.text
    (kept,) = [path for path in bench.outputs.path.glob("call-*.txt") if path.stat().st_size > 900_000]
    content = kept.read_bytes()
    assert len(content) < 1_100_000
    assert b"bytes were not kept" in content
    assert content.endswith(b"\nlast\n")


async def test_an_endless_printer_is_stopped(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST", 1_000_000)
    output = await run(bench, "yes")
    assert "because it printed more than 1 MB" in output.text
    assert output.text.startswith("y\ny\n")


async def test_output_that_is_no_utf8(bench: Workbench) -> None:
    output = await run(bench, r"printf 'a\xff\xfeb\0c'")
    assert output.text.startswith("a��b\0c\n")


async def test_a_long_and_odd_command(bench: Workbench) -> None:
    long = "x" * 180_000
    output = await run(bench, f"V='{long}'\necho ${{#V}} \"ü\" '$&'")
    assert output.text.startswith("180000 ü $&\n")
    assert (await run(bench, "if")).is_error


async def test_secrets_in_output_do_not_stay_in_the_file(bench: Workbench) -> None:
    pieces = f"printf %s {SECRET[:5]}; sleep 0.05; printf %s {SECRET[5:9]}; sleep 0.05; echo {SECRET[9:]}"
    output = await run(bench, f"{pieces}; echo {SECRET[:5]}''{SECRET[5:]}")
    assert output.text.startswith("[secret removed]\n[secret removed]\n")
    printed = [path.read_bytes() for path in bench.outputs.path.glob("*.txt")]
    assert printed
    assert not any(SECRET.encode() in content for content in printed)


async def test_a_secret_that_is_learned_while_the_command_runs(bench: Workbench) -> None:
    ready, go = bench.folder / "ready", bench.folder / "go"
    call = asyncio.create_task(run(bench, f"touch {ready}; until [ -e {go} ]; do sleep 0.02; done; echo late''-secret"))
    await until(ready.exists)
    bench.secrets.add("late-secret")
    go.touch()
    assert (await call).text.startswith("[secret removed]\n")


@pytest.mark.parametrize(
    "command",
    [
        "printf 'Continue? [y/N] '; read -r answer && [ \"$answer\" = y ]",
        f"{shlex.quote(sys.executable)} -c \"input('Your name: ')\"",
        "ssh-keygen -y -f /dev/stdin < /dev/tty",
        "git -c credential.helper= ls-remote https://127.0.0.1:1/x.git 2>/dev/null;"
        " echo 'fatal: could not read Username for x: terminal prompts disabled'; exit 1",
    ],
    ids=["read", "python", "tty", "git"],
)
async def test_who_asks_in_vain_is_told_how_to_answer(bench: Workbench, command: str) -> None:
    output = await run(bench, command)
    assert output.is_error
    assert "by a pipe or heredoc" in output.text
    ordinary = await run(bench, "ls /nowhere")
    assert ordinary.is_error
    assert "heredoc" not in ordinary.text


async def test_who_waits_for_an_answer_is_ended_early(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "IDLE_SECONDS", 0.5)
    output = await run(bench, "mkfifo p; exec 3<>p; printf 'Password for root: '; read -r x <&3", timeout_seconds=600)
    assert output.is_error
    assert output.text.startswith(
        "Password for root: \n[ended because it waits for an answer, with all its children]\n"
    )
    assert "heredoc" in output.text


async def test_who_computes_after_a_question_is_not(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "IDLE_SECONDS", 1.0)
    busy = "import time; e = time.time() + 2\nwhile time.time() < e: pass"
    output = await run(bench, f"printf 'Sure? '; python3 -c '{busy}'; echo done")
    assert not output.is_error, output.text


@pytest.mark.parametrize(
    ("printed", "asked"),
    [
        (b"Continue? [y/N] ", True),
        (b"[sudo] password for me: ", True),
        (b"Are you sure you want to continue connecting (yes/no/[fingerprint])? ", True),
        (b"? Project name: ", True),
        (b"Press any key to continue . . .", True),
        (b"Enter passphrase for key 'k': \x1b[0m", True),
        (b"downloading ...", False),
        (b"Continue? [y/N] \n", False),
        (b"why?\n12 %", False),
        (b"", False),
    ],
)
def test_what_looks_like_a_question(printed: bytes, asked: bool) -> None:
    assert asking.asks(b"before\n" + printed) is asked


async def test_full_screen_programs_end(bench: Workbench) -> None:
    output = await run(
        bench, "printf 'a\\nb\\n' > f; git log --help | head -1; less f; more f; python3 -c 'import pdb'"
    )
    assert "exit code 0" in output.text


async def test_a_link_where_an_output_goes_is_not_followed(bench: Workbench, tmp_path: Path) -> None:
    """Without a sandbox, or as another user's worker: what a tool lays there must not become the worker's pen."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in [f"call-{number}.{kind}" for number in range(1000) for kind in ("txt", "sh")]:
        (bench.outputs.path / name).symlink_to(victim)
    (bench.folder / "shell.cwd").symlink_to("/proc/self/environ")
    assert bench.cwd() == bench.workspace
    (bench.folder / "shell.cwd").unlink()
    assert (await run(bench, "echo overwritten")).text.startswith("overwritten\n")
    assert victim.read_text() == "precious"


async def test_a_sandbox_that_is_ready_and_dies_is_not_missed(bench: Workbench) -> None:
    others = {*psutil.Process().children()}
    await use(bench, "shell", command="true")
    for child in {*psutil.Process().children()} - others:
        child.kill()
    await until(lambda: {*psutil.Process().children()} <= others)
    output = await use(bench, "shell", command="echo on we go")
    assert output.text.startswith("on we go")


async def test_a_sandbox_that_was_ready_for_long_is_made_anew(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {*psutil.Process().children()}
    await use(bench, "shell", command="true")
    monkeypatch.setattr(process, "FRESH_SECONDS", 0.0)
    stale = {*psutil.Process().children()} - others
    output = await use(bench, "shell", command="echo on we go")
    assert output.text.startswith("on we go")
    assert not stale & {*psutil.Process().children()}


async def test_what_is_ready_knows_its_command_and_nothing_of_the_last_one(bench: Workbench) -> None:
    """Odd characters come through, input is empty, and both marks are there."""
    command = """printf '%s\\n' "a 'b' \\"c\\" \\$d"; cat; echo $NIGHTSHIFT_CALL $NIGHTSHIFT_TOOLS"""
    for _ in range(2):
        said = (await use(bench, "shell", command=command)).text.splitlines()
        assert said[0] == "a 'b' \"c\" $d"
        mark, folder = said[1].split()
        assert (mark.startswith("item-"), folder) == (True, str(bench.folder))
