"""What tools work with: the machine's folders, the shell's state, GitHub, the user."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from nightshift.models import Approval, FileRef, WorkerConfig
from worker import credentials, process, pushes
from worker.approvals import nobody_said_yes
from worker.background import Background
from worker.guard import Guard
from worker.inside import program
from worker.knowledge import Base
from worker.masking import Secrets
from worker.outputs import Capture, Outputs
from worker.policy import Place
from worker.sandbox import Sandbox

INHERITED = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|SHELL|TZ|TMPDIR|LANG|LC_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|NIGHTSHIFT_MACHINE"
    r"|(?i:https?|no|all)_proxy)$"
)
"""Of the worker's own environment. Everything else, and with it every secret, is left out."""
NAME, EMAIL = "Nightshift", "nightshift@users.noreply.localhost"
NOBODY_IS_THERE = {
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "PIP_NO_INPUT": "1",
}


@dataclass(frozen=True)
class Workbench:
    config: WorkerConfig
    folder: Path
    """The machine's own folder; everything below is in it."""
    session_url: str
    secrets: Secrets
    tokens: credentials.Tokens
    say: Callable[[int, str, str, Sequence[FileRef]], Awaitable[None]]
    """Show a text and files to the user: (turn, id, text, files)."""
    upload: Callable[[str, str, bytes], Awaitable[FileRef]]
    """Keep a file with the session: (filename, content type, content)."""
    sandbox: Sandbox
    outputs: Outputs
    programs: Outputs
    """What tools and git run of worker/inside, where they can read it and, in a sandbox, not change it."""
    background: Background
    guard: Guard | None = None
    allows: Callable[[Approval], Awaitable[bool]] = nobody_said_yes
    """Whether the user said yes to exactly this; it is used up."""
    asked: dict[str, Approval] = field(default_factory=dict[str, Approval])
    """What processes wanted to push and must be asked for, by the tool call (its item's id) that started them."""
    told: Callable[[str], bool] = lambda line: False
    """Whether the model has read this line in a tool's output already."""
    bases: dict[Path, Base] = field(default_factory=dict[Path, Base])
    """What repositories tell agents, once looked for."""
    spare: process.Spare | None = None
    turn: int = 0
    item_id: str = ""
    """Of the tool call under way."""
    call_id: str = ""
    environment: dict[str, str] = field(default_factory=dict[str, str])
    """Of every process of a tool."""

    def prepared(self) -> Workbench:
        """With the folders and the environment that tools need."""
        self.workspace.mkdir(parents=True, exist_ok=True)
        for name in ("shell.sh", "git.py"):
            self.programs.put(name, program(name).encode())
        pushes.install(self.programs, self.socket, os.environ.get("PATH", os.defpath))
        environment, sandbox = self._environment(), self.sandbox
        if "PATH" in sandbox.environment:
            sandbox = replace(sandbox, environment={**sandbox.environment, "PATH": environment["PATH"]})
        return replace(self, environment=environment, sandbox=sandbox)

    def _environment(self) -> dict[str, str]:
        path = f"{self.programs.path}:{os.environ.get('PATH', os.defpath)}"
        return {
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            **{name: value for name, value in os.environ.items() if INHERITED.match(name)},
            "PATH": path,
            "NIGHTSHIFT_PATH": path,
            **NOBODY_IS_THERE,
            **{f"GIT_{who}_NAME": NAME for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": EMAIL for who in ("AUTHOR", "COMMITTER")},
            **credentials.git_environment(self.config.github_host, self.socket, self.programs.path / "git.py"),
            process.TOOLS_MARK: str(self.folder),
        }

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def socket(self) -> Path:
        return self.folder / "credentials.sock"

    @property
    def undo(self) -> Path:
        """What files were before their last change."""
        return self.folder / "undo"

    @property
    def shell_state(self) -> Path:
        return self.folder / "shell.state"

    def for_call(self, turn: int, item_id: str, call_id: str) -> Workbench:
        return replace(self, turn=turn, item_id=item_id, call_id=call_id)

    def place(self) -> Place:
        return Place(str(self.cwd()), self._home, str(self.folder), self.sandbox.confined)

    async def check_push(self, request: bytes) -> bytes:
        """What git's hook is told."""
        return await pushes.answer(request, self.allows, self.asked.__setitem__)

    def keep_state(self) -> None:
        """What the last command left is what the next one begins with, unless it was ended while it wrote it down."""
        with suppress(OSError):
            if self.jobs.exists():
                os.replace(f"{self.shell_state}.new", self.shell_state)
        self.jobs.unlink(missing_ok=True)

    def bash(self, script: str, *, keep: bool) -> list[str]:
        """Runs a script of the outputs with the last command's state, and may keep its own for the next one."""
        start = ["bash"] if self.shell_state.exists() else ["bash", "-l"]
        files = (self.programs.path / "shell.sh", self.shell_state, self.outputs.path / script)
        return [*start, *map(str, files), "keep" if keep else "leave"]

    async def git(self, *arguments: str, cwd: Path, fine: tuple[int, ...] = (0,)) -> bytes:
        """What git printed, which is nothing if it failed; beside what the tool itself prints."""
        aside = self.for_call(self.turn, self.item_id, f"{self.call_id}.git")
        name = aside.output_file().name
        code = await aside.run("git", *arguments, cwd=cwd, seconds=60)
        with self.outputs.open(name) as file:
            printed = file.read()
        self.outputs.remove(name)
        return printed if code in fine else b""

    def output_file(self) -> Path:
        return self.outputs.path / (re.sub(r"[^A-Za-z0-9._-]", "_", self.call_id)[:100] + ".txt")

    @property
    def jobs(self) -> Path:
        """What the last command's shell left running; the last thing that it writes."""
        return self.folder / "shell.jobs"

    def cwd(self) -> Path:
        """Where the shell stands; relative paths of other tools start there too. It may be gone."""
        told = self.read_small(self.folder / "shell.cwd")
        return Path(told) if told.startswith("/") else self.workspace

    def read_small(self, path: Path) -> str:
        """What the shell left for the worker; nothing if it did not. As trustworthy as the shell: never by a link."""
        with suppress(OSError), open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return os.fsdecode(file.read(10_000))
        return ""

    def path(self, name: str) -> Path:
        """Of a file, as tools see it."""
        return self.cwd() / (self._home + name[1:] if name == "~" or name.startswith("~/") else name)

    @property
    def _home(self) -> str:
        """Of the tools."""
        return self.sandbox.environment.get("HOME") or self.environment["HOME"]

    def setting(self, cwd: Path) -> process.Setting:
        return process.Setting(self.sandbox, cwd, self.environment, self.item_id, self.spare, self.guard)

    async def run(self, *argv: str, cwd: Path, seconds: float) -> int:
        """Run a process; what it printed is in `output_file()`, free of secrets. Raises process.Overrun."""
        capture = Capture(self.outputs.create(self.output_file().name), self.secrets)
        return await process.run(argv, self.setting(cwd), capture, seconds)
