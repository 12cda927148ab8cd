"""A session's progress in a terminal: stages with a spinner, or plain lines in a pipe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from cli.client import Client
from cli.files import describe as described
from nightshift.gist import MACHINE_FOLDER, gist, shortened
from nightshift.models import FileRef, Item, ItemKind

RESTING = {"waiting", "stopped", "failed"}
_LOOK = 0.3  # seconds between looks at the session's phase


class Follower:
    """Prints what is new in one session, each item once."""

    def __init__(self, client: Client, session_id: str, console: Console) -> None:
        self._client = client
        self._id = session_id
        self._console = console
        self._seq = 0
        self._stage = ""
        self.sent: list[FileRef] = []
        """What the agent sent, as far as it was shown."""

    async def until(self, done: Callable[[dict[str, Any]], bool], seconds: float | None = None) -> dict[str, Any]:
        """Follow until `done(session)`; raises TimeoutError after `seconds`."""
        with self._console.status("...") as spinner:
            async with asyncio.timeout(seconds):
                while True:
                    session = await self._client.session(self._id)
                    self._show_stage(session, spinner)
                    page = await self._client.items(self._id, self._seq)
                    for item in page.items:
                        self._show(item)
                        self._seq = item.seq
                    if done(session) and not page.items:
                        return session
                    await asyncio.sleep(_LOOK)

    async def until_answered(self, seconds: float | None = None) -> dict[str, Any]:
        """Until every message is answered, or the session failed or was stopped."""

        def answered(session: dict[str, Any]) -> bool:
            served = 0 < session["last_message_seq"] <= session["answered_seq"]
            return session["phase"] in RESTING and (served or session["phase"] != "waiting")

        return await self.until(answered, seconds)

    def _show_stage(self, session: dict[str, Any], spinner: Status) -> None:
        stage = f"{session['phase']}: {session['stage']}"
        spinner.update(escape(stage))
        if stage != self._stage and not self._console.is_terminal:
            self._console.print(f"  · {escape(stage)}", highlight=False)
        self._stage = stage

    def _show(self, item: Item) -> None:
        if line := describe(item):
            self._console.print(line, highlight=False)
        for file in item.files:
            self._console.print(f"    [bold]file[/] {escape(described(file))}", highlight=False)
        if item.kind is not ItemKind.USER_MESSAGE:
            self.sent += item.files


def describe(item: Item) -> str | None:
    """One item as a line or a paragraph of rich markup; None for what is not shown."""
    match item.kind:
        case ItemKind.USER_MESSAGE:
            return f"[bold cyan]you[/]  {escape(item.text)}"
        case ItemKind.ASSISTANT_MESSAGE:
            return f"[bold green]agent[/]  {escape(item.text)}"
        case ItemKind.TOOL_CALL:
            return f"  [dim]>[/] [bold]{escape(item.name or '')}[/] {escape(shortened(gist(item.arguments)))}"
        case ItemKind.TOOL_OUTPUT if item.effect and item.effect.approval and item.effect.approval.kind == "plan":
            return f"[bold yellow]plan[/]  {escape(item.effect.approval.action)}"
        case ItemKind.TOOL_OUTPUT:
            colour = "red" if item.is_error else "dim"
            return f"    [{colour}]{escape(_outcome(item.text))}[/]"
        case ItemKind.NOTICE:
            colour = {"info": "dim", "warning": "yellow", "error": "red"}[item.level]
            return f"  [{colour}]* {escape(item.text)}[/]"
        case ItemKind.REASONING:
            return None


def _outcome(text: str) -> str:
    """The last line that says something: the shell's own footer counts only when it is alone."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("[exit code 0", "</"))]
    last = MACHINE_FOLDER.sub("", (told or lines or ["(no output)"])[-1])
    return shortened(last)
