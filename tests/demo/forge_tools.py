"""What a session does to the forge: git and PyGithub, for real."""

import subprocess
from pathlib import Path

from github import Auth, Github

from demo.forge import Forge

clients: list[Github] = []  # closed when the forge of the test is


def github(forge: Forge, token: str) -> Github:
    client = Github(
        base_url=forge.api_url, auth=Auth.Token(token), retry=None, seconds_between_requests=0, seconds_between_writes=0
    )
    clients.append(client)
    return client


def git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    who = ["-c", "user.name=Night", "-c", "user.email=night@shift.invalid", "-c", "credential.helper="]
    command = ["git", *who, *arguments]
    environment = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def remote(forge: Forge, token: str, full_name: str = "acme/tidytime") -> str:
    return f"{forge.url.replace('://', f'://x-access-token:{token}@')}/{full_name}.git"


def clone(forge: Forge, token: str, folder: Path) -> Path:
    git(folder.parent, "clone", "--quiet", remote(forge, token), str(folder))
    return folder


def push_change(folder: Path, branch: str, file: str, text: str) -> str:
    """Commits `text` as `file` on the branch (made from main when new) and pushes it. Returns the commit's sha."""
    known = git(folder, "switch", "--quiet", branch, check=False).returncode == 0
    if not known:
        git(folder, "switch", "--quiet", "--create", branch, "origin/main")
    (folder / file).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", f"Write {file}")
    git(folder, "push", "--quiet", "origin", branch)
    return git(folder, "rev-parse", "HEAD").stdout.strip()
