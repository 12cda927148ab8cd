"""What tools work with: the machine's folders, the shell's state, GitHub, the user."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nightshift.models import Approval, WorkerConfig
from worker import credentials, process, pushes
from worker.approvals import nobody_said_yes
from worker.masking import Secrets
from worker.policy import Place

INHERITED = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|SHELL|TZ|TMPDIR|LANG|LC_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|NIGHTSHIFT_MACHINE"
    r"|(?i:https?|no|all)_proxy)$"
)
"""Of the worker's own environment. Everything else, and with it every secret, is left out."""
NAME, EMAIL = "Nightshift", "nightshift@users.noreply.localhost"


@dataclass(frozen=True)
class Workbench:
    config: WorkerConfig
    folder: Path
    """The machine's own folder; everything below is in it."""
    session_url: str
    secrets: Secrets
    tokens: credentials.Tokens
    say: Callable[[int, str, str], Awaitable[None]]
    """Show a text to the user: (turn, id, text)."""
    allows: Callable[[Approval], Awaitable[bool]] = nobody_said_yes
    """Whether the user said yes to exactly this; it is used up."""
    asked: dict[str, Approval] = field(default_factory=dict[str, Approval])
    """What processes wanted to push and must be asked for, by the tool call (its item's id) that started them."""
    turn: int = 0
    item_id: str = ""
    """Of the tool call under way."""
    call_id: str = ""
    environment: dict[str, str] = field(default_factory=dict[str, str])
    """Of every process of a tool; `prepared` fills it."""

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def socket(self) -> Path:
        return self.folder / "credentials.sock"

    @property
    def shell_state(self) -> Path:
        return self.folder / "shell.state"

    def prepared(self) -> Workbench:
        for folder in (self.workspace, self.folder / "outputs"):
            folder.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if INHERITED.match(name)}
        path = inherited.get("PATH", os.defpath)
        environment = {
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            **inherited,
            "PATH": f"{pushes.install(self.folder, self.socket, path)}:{path}",
            "TERM": "dumb",
            "PAGER": "cat",
            "GIT_PAGER": "cat",
            "GIT_EDITOR": "true",
            **{f"GIT_{who}_NAME": NAME for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": EMAIL for who in ("AUTHOR", "COMMITTER")},
            **credentials.git_environment(self.config.github_host, self.socket),
            process.TOOLS_MARK: str(self.folder),
        }
        return replace(self, environment=environment)

    def for_call(self, turn: int, item_id: str, call_id: str) -> Workbench:
        return replace(self, turn=turn, item_id=item_id, call_id=call_id)

    def place(self) -> Place:
        return Place(cwd=str(self.cwd()), home=self.environment.get("HOME", ""), folder=str(self.folder))

    async def check_push(self, request: bytes) -> bytes:
        """What git's hook is told."""
        return await pushes.answer(request, self.allows, self.asked.__setitem__)

    def output_file(self) -> Path:
        return self.folder / "outputs" / (re.sub(r"[^A-Za-z0-9._-]", "_", self.call_id)[:100] + ".txt")

    def cwd(self) -> Path:
        """Where the shell stands; relative paths of other tools start there too."""
        if self.shell_state.exists():
            kept = Path(os.fsdecode(self.shell_state.read_bytes().split(b"\0", 1)[0]))
            if kept.is_dir():
                return kept
        return self.workspace

    def path(self, name: str) -> Path:
        return self.cwd() / Path(name).expanduser()

    async def run(self, *argv: str, cwd: Path, seconds: float, environment: dict[str, str] | None = None) -> int:
        """Run a process; what it printed is in `output_file()`, free of secrets. Raises process.Overrun."""
        output = self.output_file()
        try:
            return await process.run(
                argv,
                cwd=cwd,
                env=environment or self.environment,
                output=output,
                seconds=seconds,
                mark=self.item_id,
            )
        finally:
            await asyncio.to_thread(self.secrets.mask_file, output)
