"""View, create, edit, insert, undo: real files, with and without a sandbox."""

from __future__ import annotations

import asyncio
import base64
import os

import pytest

from nightshift.errors import ModelRetry
from tests.worker.conftest import SAID, UPLOADED, use
from worker.tools import Workbench
from worker.tools.near import replaced

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


async def test_edit_replaces_exactly_what_is_said(bench: Workbench) -> None:
    path = bench.workspace / "f.js"
    path.write_text("const a = 'old ü';\nrest\n")
    path.chmod(0o755)
    output = await use(bench, "edit", path=str(path), old="'old ü'", new=r"'$& $1 $$ $` \1 \g<0> 🚀'")
    assert not output.is_error
    assert path.read_text() == "const a = '" + r"$& $1 $$ $` \1 \g<0> 🚀" + "';\nrest\n"
    assert path.stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in bench.workspace.iterdir()] == ["f.js"]


async def test_edit_keeps_line_endings_the_mark_and_links(bench: Workbench) -> None:
    path, link = bench.workspace / "dos.txt", bench.workspace / "link.txt"
    path.write_bytes("\ufeffone\r\ntwo\r\nthree".encode())
    link.symlink_to(path)
    assert not (await use(bench, "edit", path="link.txt", old="one\ntwo\n", new="1\n2\n2b\n")).is_error
    assert path.read_bytes() == "\ufeff1\r\n2\r\n2b\r\nthree".encode()
    assert link.is_symlink()
    path.write_bytes(b"a\nb\r\nc\r\nd\n")
    await use(bench, "edit", path="dos.txt", old="b\nc", new="B\nC")
    assert path.read_bytes() == b"a\nB\r\nC\r\nd\n"


async def test_edit_leaves_bytes_that_are_no_utf8_alone(bench: Workbench) -> None:
    path = bench.workspace / "latin.txt"
    path.write_bytes(b"caf\xe9\nold\n")
    output = await use(bench, "edit", path="latin.txt", old="old", new="new")
    assert path.read_bytes() == b"caf\xe9\nnew\n"
    assert output.text.endswith(" caf?\n-old\n+new")
    assert "caf�" in (await use(bench, "view", path="latin.txt")).text


async def test_edit_everywhere(bench: Workbench) -> None:
    path = bench.workspace / "f"
    path.write_text("a b a\na\n")
    refused = await use(bench, "edit", path="f", old="a", new="aa")
    assert "`old` occurs 3 times in" in refused.text
    assert "(line 1, 1, 2): give more lines around it, or say replace_all." in refused.text
    assert not (await use(bench, "edit", path="f", old="a", new="aa", replace_all=True)).is_error
    assert path.read_text() == "aa b aa\naa\n"


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ("\treturn  1", "Lines 2 to 2 differ from it in blanks only."),
        ("    return 1\n\n\tx = 2", "Lines 2 to 4 differ from it in blanks only."),
        ("    return 1", "    return 1··"),
        ("x = 2\n", "→x = 2"),
        ("     2\t    return 1", "without the line numbers"),
        ("    retrun 1;", "These lines look alike:\n     2\t    return 1"),
        ("nothing of the kind", "Nothing in it looks alike"),
        ("", "`old` is empty"),
        ("same", "`new` are the same"),
    ],
)
def test_edit_tells_why_not(old: str, told: str) -> None:
    content = "def f():\n    return 1  \n\n\tx = 2 \nsame\n"
    wanted = "    return 1\n" if told == "    return 1··" else "  x = 2\n" if told == "→x = 2" else old
    with pytest.raises(ModelRetry) as fault:
        replaced(content, wanted, "same", "f.py", everywhere=False)
    assert told in str(fault.value)


async def test_edit_refuses_what_is_no_text(bench: Workbench) -> None:
    for content, told in ((b"\xff\x00\x01", "a binary file"), (b"%PDF-1.7 ", "pdftotext"), (PNG, "view shows it")):
        (bench.workspace / "b").write_bytes(content)
        output = await use(bench, "edit", path="b", old="a", new="b")
        assert output.is_error
        assert told in output.text
    assert "No such file" in (await use(bench, "edit", path="missing", old="a", new="b")).text
    assert "is a folder" in (await use(bench, "edit", path=".", old="a", new="b")).text


async def test_view_tells_what_it_cannot_show(bench: Workbench) -> None:
    (bench.workspace / "a.pdf").write_bytes(b"%PDF-1.7 \x00")
    os.mkfifo(bench.workspace / "pipe")
    for path, told in (("a.pdf", "pdftotext"), ("pipe", "no plain file"), ("/dev/zero", "no plain file")):
        output = await use(bench, "view", path=path)
        assert output.is_error
        assert told in output.text
    (bench.workspace / "large").write_bytes(b"x" * 10_000_001)
    assert "10.0 MB, which is more than 10 MB" in (await use(bench, "view", path="large")).text


async def test_create_and_view(bench: Workbench) -> None:
    await use(bench, "create", path="d/new.txt", text="one\ntwo\nthree\n")
    path = bench.workspace / "d" / "new.txt"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert "exists" in (await use(bench, "create", path="d/new.txt", text="x")).text
    assert "is a folder" in (await use(bench, "create", path="d", text="x", overwrite=True)).text
    assert not (await use(bench, "create", path="d/new.txt", text="1\n2\n3\n", overwrite=True)).is_error
    assert (await use(bench, "view", path="d/new.txt")).text == "     1\t1\n     2\t2\n     3\t3"
    ranged = await use(bench, "view", path=str(path), first_line=2, last_line=2)
    assert ranged.text == "     2\t2\n[lines 2 to 2 of 3]"
    assert "has 3 lines" in (await use(bench, "view", path=str(path), first_line=9)).text
    path.write_text("a\fb\u2028c\nnext\n" + "x" * 5000)
    shown = (await use(bench, "view", path="d/new.txt")).text
    assert shown.startswith("     1\ta\fb\u2028c\n     2\tnext\n     3\txxx")
    assert "[... 3000 more characters in this line ...]" in shown


async def test_view_of_a_folder_is_two_levels_without_what_git_ignores(bench: Workbench) -> None:
    commands = "git init -q r; cd r; mkdir -p src/deep/er node_modules/x empty; echo node_modules > .gitignore"
    await use(bench, "shell", command=f"{commands}; touch src/a.py src/deep/b.py src/deep/er/c.py node_modules/x/y")
    shown = (await use(bench, "view", path=".")).text
    assert shown == (
        ".git/  [empty or ignored]\n.gitignore\nempty/  [empty or ignored]\nnode_modules/  [empty or ignored]\n"
        "src/\n  a.py\n  deep/  [2 files]"
    )
    assert (await use(bench, "view", path=str(bench.workspace))).text.startswith("r/\n")
    assert (await use(bench, "view", path="empty")).text == "[an empty folder]"
    assert (await use(bench, "view", path="node_modules")).text == "x/\n  y"


async def test_insert(bench: Workbench) -> None:
    path = bench.workspace / "f"
    path.write_bytes(b"1\r\n2")
    await use(bench, "insert", path="f", after_line=0, text="0")
    await use(bench, "insert", path="f", after_line=3, text="3\n4\n")
    assert path.read_bytes() == b"0\r\n1\r\n2\r\n3\r\n4\r\n"
    refused = await use(bench, "insert", path="f", after_line=6, text="x")
    assert refused.text == f"{path} has 5 lines: there is none with the number 6."
    (bench.workspace / "empty").touch()
    await use(bench, "insert", path="empty", after_line=0, text="x")
    assert (bench.workspace / "empty").read_text() == "x\n"


async def test_undo_takes_back_the_last_change_of_a_file(bench: Workbench) -> None:
    path = bench.workspace / "f"
    await use(bench, "create", path="f", text="one\n")
    await use(bench, "edit", path="f", old="one", new="two")
    undone = await use(bench, "undo", path="f")
    assert "-two\n+one" in undone.text
    assert path.read_text() == "one\n"
    assert "no edit of" in (await use(bench, "undo", path="f")).text
    await use(bench, "edit", path="f", old="one", new="two")
    path.write_text("somebody else\n")
    refused = await use(bench, "undo", path="f")
    assert refused.is_error
    assert path.read_text() == "somebody else\n"
    await use(bench, "create", path="new", text="x")
    assert "is gone" in (await use(bench, "undo", path="new")).text
    assert not (bench.workspace / "new").exists()


async def test_two_edits_of_one_file_at_once_lose_nothing(bench: Workbench) -> None:
    path = bench.workspace / "f"
    path.write_text("a\nb\nc\nd\n")
    outputs = await asyncio.gather(*(use(bench, "edit", path="f", old=each, new=each * 2) for each in "abcd"))
    refused = [output for output in outputs if output.is_error]
    assert all("changed by somebody else meanwhile" in output.text for output in refused)
    assert sum(len(line) for line in path.read_text().split()) == 4 + len(outputs) - len(refused)


async def test_an_image_goes_before_the_model(bench: Workbench) -> None:
    (bench.workspace / "shot.dat").write_bytes(PNG)
    output = await use(bench, "view", path="shot.dat")
    (file,) = output.files
    assert (file.filename, file.content_type, file.size) == ("shot.dat", "image/png", len(PNG))
    assert UPLOADED[file.name] == PNG


async def test_a_file_goes_to_the_user(bench: Workbench) -> None:
    name = "a\tb ü.csv"
    (bench.workspace / name).write_text("1,2\n")
    output = await use(bench, "send_file", path=name, caption="The figures")
    assert output.text == "The user can see a_b ü.csv (4 bytes)."
    ((text, (file,)),) = SAID
    assert (text, file.filename, file.content_type) == ("The figures", "a_b ü.csv", "text/csv")
    assert UPLOADED[file.name] == b"1,2\n"
    assert "archive" in (await use(bench, "send_file", path=".", caption="x")).text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
