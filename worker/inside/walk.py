"""Lists, finds and searches files, without what git ignores. The request is one line of JSON on stdin, the answer is
one on stdout.

    tree    path, most                          lines, left
    find    path, pattern, most                 paths, left
    search  path, pattern, glob, literal, ignore_case, context, most
                                                lines [[path, number, is_match, text]], matches, files, left
"""

import fnmatch
import glob
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

SKIPPED = {".git", ".hg", ".svn", "node_modules", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
"""Where git says nothing."""
LONGEST_LINE = 400
LARGEST = 5_000_000
"""Bytes of a file that is searched without ripgrep."""
GIT = ("git", "-c", "safe.directory=*", "-c", "core.quotePath=off")


def files(root: str) -> Iterator[str]:
    """Paths below `root`, in order. In a repository those that git does not ignore, else all but the usual chaff."""
    listed = _of_git(root)
    if listed is None:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_symlink() or entry.is_file(follow_symlinks=False):
                yield entry.path
            elif entry.is_dir(follow_symlinks=False) and entry.name not in SKIPPED:
                yield from _below(entry.path)
        return
    for name in listed:
        path = os.path.join(root, name.rstrip("/"))
        if os.path.isdir(path) and not os.path.islink(path):  # a repository in the repository
            yield from _below(path)
        elif os.path.lexists(path):
            yield path


def _below(folder: str) -> Iterator[str]:
    try:
        yield from files(folder)
    except PermissionError:
        return


def _of_git(root: str) -> list[str] | None:
    """None if no repository begins here: only then, or for the root that was asked for, git is asked."""
    if not os.path.exists(os.path.join(root, ".git")) and root != asked:
        return None
    command = [*GIT, "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    done = subprocess.run(command, capture_output=True)  # noqa: S603 - no shell, and a folder's name at most
    if done.returncode != 0 or (root == asked and not done.stdout):  # an ignored folder that was asked for by name
        return None
    return sorted(os.fsdecode(name) for name in done.stdout.split(b"\0") if name)


def tree(request: dict[str, Any]) -> dict[str, Any]:
    """Two levels; how much is below the second."""
    root = request["path"]
    below: dict[str, dict[str, int]] = {}
    for path in files(root):
        first, _, rest = os.path.relpath(path, root).partition("/")
        second, slash, _ = rest.partition("/")
        inner = below.setdefault(first + "/" if rest else first, {})
        if rest:
            inner[second + slash] = inner.get(second + slash, 0) + 1
    for entry in os.scandir(root):  # empty folders, and ignored ones, exist too
        if entry.is_dir(follow_symlinks=False):
            below.setdefault(entry.name + "/", {})
    lines: list[str] = []
    for first, inner in sorted(below.items()):
        lines.append(first if inner or not first.endswith("/") else f"{first}  [empty or ignored]")
        for second, count in sorted(inner.items()):
            lines.append(f"  {second}  [{count} files]" if second.endswith("/") and count > 1 else f"  {second}")
    return {"lines": lines[: request["most"]], "left": max(0, len(lines) - request["most"])}


def find(request: dict[str, Any]) -> dict[str, Any]:
    wanted = matcher(request["pattern"])
    found = [path for path in files(request["path"]) if wanted(os.path.relpath(path, request["path"]))]
    return {"paths": found[: request["most"]], "left": max(0, len(found) - request["most"])}


def matcher(pattern: str) -> Callable[[str], bool]:
    """A pattern without a slash is for the name alone, at any depth; `**` is any number of folders."""
    if "/" not in pattern:
        expression = re.compile(fnmatch.translate(pattern))
        return lambda path: bool(expression.match(os.path.basename(path)))
    expression = re.compile(glob.translate(pattern.lstrip("/"), recursive=True, include_hidden=True))
    return lambda path: bool(expression.match(path))


def search(request: dict[str, Any]) -> dict[str, Any]:
    lines: list[tuple[str, int, bool, str]] = []
    matches, left, seen = 0, 0, set[str]()
    for path, number, is_match, text in (_ripgrep if shutil.which("rg") else _scan)(request):
        matches += is_match
        seen.update([path] if is_match else [])
        if matches > request["most"]:
            left += is_match
        else:
            lines.append((path, number, is_match, text[:LONGEST_LINE]))
    return {"lines": lines, "matches": matches, "files": len(seen), "left": left}


def _ripgrep(request: dict[str, Any]) -> Iterator[tuple[str, int, bool, str]]:
    command = ["rg", "--null", "--line-number", "--with-filename", "--no-heading", "--color=never", "--no-config"]
    command += ["--hidden", "--glob=!.git", "--sort=path", "--max-columns=400", "--max-columns-preview"]
    command += [f"--context={request['context']}"]
    command += ["--fixed-strings"] if request["literal"] else []
    command += ["--ignore-case"] if request["ignore_case"] else []
    command += ["--glob", request["glob"]] if request["glob"] else []
    command += ["--regexp", request["pattern"], "--", request["path"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603
        assert running.stdout
        assert running.stderr
        for line in running.stdout:
            path, null, rest = line.rstrip(b"\n").partition(b"\0")
            if null and (parts := re.match(rb"(\d+)([:-])", rest)):
                text = rest[parts.end() :].decode(errors="replace").rstrip("\r")
                yield os.fsdecode(path), int(parts[1]), parts[2] == b":", text
        fault = running.stderr.read().decode(errors="replace")
    if running.returncode not in (0, 1) and "regex parse error" in fault:
        raise ValueError(fault.strip())


def _scan(request: dict[str, Any]) -> Iterator[tuple[str, int, bool, str]]:
    pattern = re.escape(request["pattern"]) if request["literal"] else request["pattern"]
    try:
        expression = re.compile(pattern, re.IGNORECASE if request["ignore_case"] else 0)
    except re.error as fault:
        raise ValueError(f"regex parse error: {fault}") from None
    root, context = request["path"], request["context"]
    wanted = matcher(request["glob"] or "*")
    for path in [root] if os.path.isfile(root) else files(root):
        if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
            continue
        if not wanted(os.path.relpath(path, root)):
            continue
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            continue
        if b"\0" in content[:8000]:
            continue
        lines = content.decode(errors="replace").removesuffix("\n").split("\n")
        hits = {number for number, line in enumerate(lines) if expression.search(line)}
        near = {n for hit in hits for n in range(max(0, hit - context), min(len(lines), hit + context + 1))}
        for number in sorted(near | hits):
            yield path, number + 1, number in hits, lines[number].rstrip("\r")


def main() -> None:
    global asked
    request = json.loads(sys.stdin.buffer.readline())
    asked = request["path"]
    try:
        if not os.path.exists(asked):
            answer: dict[str, Any] = {"error": f"There is no {asked}."}
        else:
            answer = {"tree": tree, "find": find, "search": search}[request["do"]](request)
    except (ValueError, OSError) as fault:
        answer = {"error": str(fault)}
    sys.stdout.write(json.dumps(answer) + "\n")


asked = ""

if __name__ == "__main__":
    main()
