"""The `nightshift` command."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cli.client import DEFAULT_URL, ApiError, Client
from cli.files import Attached, attach, save
from cli.follow import Follower
from nightshift.errors import Permanent, Retryable, UserError
from nightshift.keys import Scope, create_key, list_keys, revoke_key
from nightshift.ports import Store
from nightshift.services import build
from nightshift.settings import Settings

console = Console()
_FILES = click.option(
    "--file",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    callback=attach,
    help="A file for the agent, 25 MB at most. May be given several times.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nightshift")
def main() -> None:
    """Nightshift: software-engineering agents on durable sessions.

    The server is NIGHTSHIFT_URL (default: this machine, port 7071); NIGHTSHIFT_API_KEY opens it where a key is needed.
    """


@main.command()
@click.option("--port", default=7071, show_default=True, help="Port on 127.0.0.1.")
@click.option("--data", type=click.Path(path_type=Path), default=Path("var"), show_default=True, help="Data folder.")
def up(port: int, data: Path) -> None:
    """Serve pages and API on this machine."""
    from cli.up import log_to_terminal, prepare_environment, serve
    from embedded.errors import StartError

    log_to_terminal(logging.WARNING)
    prepare_environment(port, data.absolute())
    try:
        asyncio.run(serve(port))
    except (StartError, Permanent) as error:
        raise click.ClickException(_reason(error)) from error


@main.command()
def demo() -> None:
    """Run the main job, start to end, with a scripted model and a local forge."""
    # The demo is no part of the product: it runs beside it, as any user's program would.
    sys.exit(subprocess.run([sys.executable, "-m", "demo"], check=False).returncode)


@main.command()
@click.argument("task")
@click.option("--repo", help="owner/name the task is about.")
@click.option("--model", help="Model or deployment; default is the server's.")
@click.option("--agent", help="Name or id of an agent of yours, or of the team's.")
@click.option("--plan", is_flag=True, help="Have a plan proposed first; `nightshift approve` says yes to it.")
@_FILES
@click.option("--follow/--no-follow", default=True, show_default=True, help="Show the work until it is answered.")
def run(
    task: str,
    repo: str | None,
    model: str | None,
    agent: str | None,
    plan: bool,
    files: list[Attached],
    follow: bool,
) -> None:
    """Start a session on TASK."""

    async def work(client: Client) -> None:
        of_it = await client.agent_id(agent) if agent else None
        started = await client.start(task, repo, model, plan, of_it, files)
        console.print(f"session [bold]{started['id']}[/]  {client.url}/sessions/{started['id']}", highlight=False)
        if follow:
            await _follow(client, started["id"])

    _run(work)


@main.command()
@click.option("--limit", default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
def sessions(limit: int, as_json: bool) -> None:
    """List sessions, newest first."""

    async def work(client: Client) -> None:
        found = await client.sessions(limit)
        if as_json:
            for session in found:
                click.echo(json.dumps(session))
            return
        table = Table("id", "phase", "title", "turns", "cost", box=None)
        for session in found:
            table.add_row(
                session["id"], session["phase"], session["title"] or "", str(session["turns"]), _cost(session["usage"])
            )
        console.print(table if found else 'No sessions yet. Start one: nightshift run "task" --repo owner/name')

    _run(work)


@main.command()
@click.argument("session_id")
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the files that the agent sent in this folder.",
)
def show(session_id: str, folder: Path | None) -> None:
    """Show where a session stands and what was said; follows it if it is at work."""

    async def work(client: Client) -> None:
        sent = (await _follow(client, session_id)).sent
        if folder:
            for file in sent:
                kept = save(folder, file, await client.file(session_id, file))
                click.echo(f"saved {kept}", err=True)
        click.echo(json.dumps(await client.session(session_id), indent=2))

    _run(work)


@main.command()
@click.argument("session_id")
@click.argument("text")
@click.option("--plan/--no-plan", default=None, help="Have a plan proposed before anything more is changed, or go on.")
@_FILES
@click.option("--follow/--no-follow", default=True, show_default=True, help="Show the work until it is answered.")
def send(session_id: str, text: str, plan: bool | None, files: list[Attached], follow: bool) -> None:
    """Send a message to a session, whatever it is doing."""

    async def work(client: Client) -> None:
        await client.send(session_id, text, plan, files=files)
        if follow:
            await _follow(client, session_id)

    _run(work)


@main.command()
@click.argument("session_id")
@click.option("--yes", is_flag=True, help="Do not show it and ask once more.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Show the work until it is answered.")
def approve(session_id: str, yes: bool, follow: bool) -> None:
    """Say yes to the plan or the risky action that a session waits with."""

    async def work(client: Client) -> None:
        asked = await client.awaited(session_id)
        if asked is None:
            raise click.ClickException(f"{session_id} waits for no yes")
        call, approval = asked
        if not yes:
            click.echo(f"{approval.action}\n\n{approval.reason}")
            click.confirm("Approve it?", abort=True)
        await client.send(session_id, f"Approved: {approval.action.splitlines()[0][:200]}", approves=call)
        if follow:
            await _follow(client, session_id)

    _run(work)


@main.command(name="open")
@click.argument("session_id")
def open_(session_id: str) -> None:
    """Open a session's page in the browser."""

    async def work(client: Client) -> None:
        session = await client.session(session_id)
        page = client.url + session["links"]["page"]
        click.echo(page)  # also where there is no browser
        click.launch(page)

    _run(work)


def _control(kind: str, words: str) -> None:
    @main.command(name=kind, help=words)
    @click.argument("session_id")
    def command(session_id: str) -> None:  # pyright: ignore[reportUnusedFunction] - click keeps it
        async def work(client: Client) -> None:
            await client.control(session_id, kind)

        _run(work)


_control("interrupt", "Interrupt the turn: model call and running tool stop at once.")
_control("stop", "Stop the session's machine.")
_control("resume", "Start the session's machine again, or take a failed start up again.")


@main.command()
@click.argument("session_id")
@click.confirmation_option(prompt="Delete the session and everything it owns?")
def delete(session_id: str) -> None:
    """Delete a session with its machine and its conversation."""

    async def work(client: Client) -> None:
        await client.delete(session_id)

    _run(work)


@main.group()
def keys() -> None:
    """API keys, in the store itself: of the server whose settings this environment has, or with none, of ./var.

    A store in Azure is reached only from its own network. From anywhere else make keys on the settings page, or with
    POST /api/keys (docs/api.md).
    """


@keys.command(name="create")
@click.option("--owner", required=True, help="Whose key: a session belongs to the owner of the key that began it.")
@click.option("--scope", type=click.Choice(["read", "write", "admin"]), multiple=True, default=["read", "write"])
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="Until it expires.")
def create(owner: str, scope: tuple[str, ...], days: int) -> None:
    """Make a key. It is printed once and kept only as a hash."""
    expires_at = datetime.now(UTC) + timedelta(days=days)

    async def work(store: Store) -> None:
        _, text = await create_key(store, owner, [Scope(each) for each in scope], expires_at)
        click.echo(text)

    _on_store(work)


@keys.command(name="list")
def list_() -> None:
    """List keys, without their secrets."""

    async def work(store: Store) -> None:
        for key in await list_keys(store):
            scopes = ",".join(sorted(key.scopes))
            click.echo(
                f"{key.id}  {key.owner}  {scopes}  expires {key.expires_at or 'never'}  used {key.last_used or '-'}"
            )

    _on_store(work)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Make a key useless at once."""
    _on_store(lambda store: revoke_key(store, key_id))


def _on_store(work: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        # Keys are not signed with it, so whoever only makes some does not need the server's.
        services = build(Settings.read({"NIGHTSHIFT_SIGNING_KEY": "-" * 32, **os.environ}))
        try:
            await work(services.store)
        finally:
            await services.close()

    try:
        asyncio.run(go())
    except (UserError, Permanent, Retryable) as error:
        advice = ""
        if os.environ.get("NIGHTSHIFT_COSMOS_ENDPOINT") and not isinstance(error, UserError):
            advice = ". From outside its network, make keys on the settings page or with POST /api/keys"
        raise click.ClickException(_reason(error) + advice) from error


async def _follow(client: Client, session_id: str) -> Follower:
    follower = Follower(client, session_id, console)
    session = await follower.until_answered()
    usage = session["usage"]
    console.print(
        f"{session['phase']}, {session['turns']} turns, {usage['tokens']['input'] + usage['tokens']['output']} tokens, "
        f"{_cost(usage)}",
        highlight=False,
    )
    if session["needs_user"] in ("approval", "plan"):
        console.print(f"It waits for your yes: nightshift approve {session_id}", highlight=False)
    for pull in session["pull_requests"]:
        console.print(f"pull request {pull['url']}", highlight=False)
    return follower


def _cost(usage: dict[str, Any]) -> str:
    return "unpriced" if usage["cost_usd"] is None else f"${usage['cost_usd']:.4f}"


def _run(work: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        async with Client(tell=lambda text: click.echo(text, err=True)) as client:
            await work(client)

    try:
        asyncio.run(go())
    except ApiError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        console.print("\nNo longer following; the session goes on.")


def _reason(error: Exception) -> str:
    advice = getattr(error, "advice", "")
    return f"{error}{'. ' + advice if advice else ''}"


__all__ = ["DEFAULT_URL", "main"]
