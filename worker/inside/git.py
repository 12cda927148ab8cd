"""What git asks the worker, over its socket.

git.py credential SOCKET get|store|erase      git's credential helper; erase: the worker hears what was refused
git.py push SOCKET REMOTE URL                 git's pre-push hook: gathers the facts, asks, runs the repository's own
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OK = b"ok"


def ask(path: str, request: bytes) -> bytes:
    """What the worker answers. Raises OSError if it does not."""
    folder, name = os.path.split(path)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # a path may be longer than a socket's address holds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(f"/proc/self/fd/{handle}/{name}")
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))
    finally:
        os.close(handle)


def credential(socket: str, action: str) -> int:
    if action in ("get", "erase"):
        sys.stdout.buffer.write(ask(socket, sys.stdin.buffer.read() + f"action={action}\n".encode()))
    return 0


def push(socket: str, remote: str, url: str) -> int:
    stdin = sys.stdin.read()
    lines = stdin.splitlines()
    if lines:
        gathered = facts(remote, url, lines)
        if unseen := [it["ref"] for it in gathered["updates"] if it["new"] and it["old"] and not _is_here(it["old"])]:
            # Whether it is forced cannot be told here: without force git would refuse it, too.
            print(f"nightshift: rejected, {', '.join(unseen)} has commits that are not here: fetch", file=sys.stderr)
            return 1
        try:
            said = ask(socket, json.dumps(gathered).encode())
        except OSError as fault:
            said = f"It could not be checked: {fault}".encode()
        if said != OK:
            print(f"nightshift: not pushed, this needs the user's yes. {said.decode()}", file=sys.stderr)
            return 1
    return _own_hook(remote, url, stdin)


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


def _own_hook(remote: str, url: str, stdin: str) -> int:
    """The one that the repository would have run without ours."""
    scopes = ("--local", "--global", "--system")
    folder = next(filter(None, (_printed("config", scope, "core.hooksPath").strip() for scope in scopes)), "")
    hook = Path(folder or f"{_printed('rev-parse', '--git-common-dir').strip()}/hooks").expanduser() / "pre-push"
    if not os.access(hook, os.X_OK):
        return 0
    return subprocess.run([hook.absolute(), remote, url], input=stdin, text=True).returncode  # noqa: S603


def _is_here(sha: str) -> bool:
    return _git("cat-file", "-e", sha).returncode == 0


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        ("git", *arguments),  # noqa: S607 - the one that runs this hook
        capture_output=True,
        text=True,
        errors="surrogateescape",
    )


def _printed(*arguments: str) -> str:
    return _git(*arguments).stdout


if __name__ == "__main__":
    sys.exit({"credential": credential, "push": push}[sys.argv[1]](*sys.argv[2:5]))
