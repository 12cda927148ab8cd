"""Every `git push` is judged by what it would change: by a hook, whoever calls git.

A `git` that stands first on PATH gives pushes, and nothing else, a folder of hooks with one in it. (Set for all of git,
such a folder would keep a repository's own hooks from running, and from being installed.) The hook is
`python -m worker.pushes SOCKET REMOTE URL`: it gathers the facts, asks the worker, then runs the repository's own hook.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from worker.credentials import ask, python

if TYPE_CHECKING:  # git starts this module for each push: it stays quick to import
    from nightshift.models import Approval

OK = b"ok"
GIT = """\
#!/bin/sh
# The machine's own git; a push is checked first.
skip=
for word; do
    if [ "$skip" ]; then skip=; continue; fi
    case $word in
        -C | -c | --git-dir | --work-tree | --namespace | --config-env) skip=1 ;;
        -*) ;;
        push) exec {git} -c core.hooksPath={hooks} "$@" ;;
        *) break ;;
    esac
done
exec {git} "$@"
"""
HOOK = """\
#!/bin/sh
exec {python} -m worker.pushes {socket} "$@"
"""


def install(folder: Path, socket: Path, path: str) -> Path:
    """Write the commands, and return the folder that is to be first on PATH. Without a git there is none to check."""
    commands, hooks = folder / "bin", folder / "bin" / "hooks"
    hooks.mkdir(parents=True, exist_ok=True)
    if git := shutil.which("git", path=path):
        quoted = {"git": shlex.quote(git), "hooks": shlex.quote(str(hooks))}
        _executable(commands / "git", GIT.format_map(quoted))
        _executable(hooks / "pre-push", HOOK.format(python=python(), socket=shlex.quote(str(socket))))
    return commands


async def answer(
    request: bytes, allows: Callable[[Approval], Awaitable[bool]], refuse: Callable[[str, Approval], None]
) -> bytes:
    """What the worker says to the hook. `refuse` is told (tool call, question) when the user must be asked."""
    from worker import policy  # heavy, and the hook needs nothing of it

    asked: dict[str, Any] = json.loads(request)
    updates = tuple(
        policy.Update(update["ref"], update["old"], update["new"], update["forced"], tuple(update["files"]))
        for update in asked["updates"]
    )
    approval = policy.judge_push(policy.Push(asked["url"], asked["default"], updates))
    if approval is None or await allows(approval):
        return OK
    refuse(asked["call"], approval)
    return approval.reason.encode()


def facts(remote: str, url: str, lines: list[str]) -> dict[str, Any]:
    """`lines` are what git tells a pre-push hook: local ref, its object, remote ref, its object."""
    updates: list[dict[str, Any]] = []
    for line in lines:
        _, new, ref, old = (part if part.strip("0") else "" for part in line.rsplit(" ", 3))
        forced = bool(old and new) and _git("merge-base", "--is-ancestor", old, new).returncode != 0
        published = ["--not", "--remotes", *([old] if old and not forced else [])]
        names = _printed("log", "--format=", "--name-only", "-z", new, *published) if new else ""
        files = sorted({name for name in names.split("\0") if name})
        updates.append({"ref": ref, "old": old, "new": new, "forced": forced, "files": files})
    head = _printed("symbolic-ref", "--quiet", f"refs/remotes/{remote}/HEAD").strip()
    default = head.replace(f"refs/remotes/{remote}/", "refs/heads/")
    if not default:
        default = next((u["ref"] for u in updates if u["ref"] in ("refs/heads/main", "refs/heads/master")), "")
    shown = urlsplit(url)
    url = shown._replace(netloc=shown.netloc.rpartition("@")[2]).geturl()
    return {"call": os.environ.get("NIGHTSHIFT_CALL", ""), "url": url, "default": default, "updates": updates}


def main(socket: str, remote: str, url: str) -> int:
    stdin = sys.stdin.read()
    lines = stdin.splitlines()
    if lines:
        try:
            said = ask(Path(socket), json.dumps(facts(remote, url, lines)).encode())
        except OSError as fault:
            said = f"It could not be checked: {fault}".encode()
        if said != OK:
            print(f"nightshift: not pushed, this needs the user's yes. {said.decode()}", file=sys.stderr)
            return 1
    return _own_hook(remote, url, stdin)


def _own_hook(remote: str, url: str, stdin: str) -> int:
    """The one that the repository would have run without ours."""
    scopes = ("--local", "--global", "--system")
    folder = next(filter(None, (_printed("config", scope, "core.hooksPath").strip() for scope in scopes)), "")
    hook = Path(folder or f"{_printed('rev-parse', '--git-common-dir').strip()}/hooks").expanduser() / "pre-push"
    if not os.access(hook, os.X_OK):
        return 0
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(  # noqa: S603 - the repository's own
        [hook.absolute(), remote, url], input=stdin, text=True, env=environment
    ).returncode


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        ("git", *arguments),  # noqa: S607 - the one that runs this hook
        capture_output=True,
        text=True,
        errors="surrogateescape",
    )


def _printed(*arguments: str) -> str:
    return _git(*arguments).stdout


def _executable(path: Path, content: str) -> None:
    """All or nothing: another process may be running it."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(content)
    new.chmod(0o755)
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
