"""What the user sees of the work: the session's title, the todo list, a message on the way."""

from __future__ import annotations

import re

from pydantic import Field

from nightshift.errors import ModelRetry
from nightshift.models import MAX_PLAN, Approval, Effect, Model, Todo
from worker.masking import storable
from worker.tools import disk, kinds
from worker.tools.base import Output, tool
from worker.tools.workbench import Workbench

PLANNED = "Nothing is changed before you approve the plan."
LARGEST_FILE = 25_000_000
"""Bytes of a file for the user."""


class Title(Model):
    title: str = Field(min_length=1, max_length=120, description="A few words, under 60 characters.")


class TodoList(Model):
    items: list[Todo] = Field(max_length=50, description="The whole list; it replaces the last one.")


class Message(Model):
    text: str = Field(min_length=1, description="Markdown, in the user's language.")


class Plan(Model):
    plan: str = Field(min_length=1, max_length=MAX_PLAN, description="Markdown, in the user's language.")


class SendFile(Model):
    path: str = Field(description="Absolute, or relative to the shell's current folder.")
    caption: str = Field(max_length=2000, description="What it is, in the user's language.")


@tool(Title, repeatable=True)
async def set_title(arguments: Title, bench: Workbench) -> Output:
    """Give the session a short title. Do it once, early; again only if the work becomes another one."""
    return Output(f"The title is now: {arguments.title}", Effect(title=arguments.title))


@tool(TodoList, repeatable=True)
async def todo(arguments: TodoList, bench: Workbench) -> Output:
    """Keep the list of steps that the user sees. Send the whole list whenever a step begins or is done."""
    done = sum(item.status == "done" for item in arguments.items)
    return Output(f"{done} of {len(arguments.items)} done.", Effect(todo=arguments.items))


@tool(Message, repeatable=True)
async def message_user(arguments: Message, bench: Workbench) -> str:
    """Tell the user something while you go on working: a finding, a plan, a delay. It does not wait for an answer.
    Your final answer needs no tool: it is the text you end with."""
    await bench.say(bench.turn, f"{bench.item_id}.message", arguments.text, ())
    return "The user can read it."


@tool(SendFile, repeatable=True)
async def send_file(arguments: SendFile, bench: Workbench) -> str:
    """Show the user a file: a report, a screenshot, a log, an archive. Images are shown in the chat, other files can be
    downloaded. For a folder make an archive first."""
    path = bench.path(arguments.path)
    content = await disk.read(bench, path, LARGEST_FILE)
    if content is None:
        raise ModelRetry(f"{path} is a folder. Make an archive of it first, in the shell.")
    file = await bench.upload(_shown(path.name), kinds.content_type(path.name, content.data), content.data)
    await bench.say(bench.turn, f"{bench.item_id}.file", arguments.caption, (file,))
    return f"The user can see {file.filename} ({file.size} bytes)."


@tool(Plan, repeatable=True)
async def propose_plan(arguments: Plan, bench: Workbench) -> Output:
    """Show the user a plan and wait for their yes, where they want one first: what you found, what you would change and
    where, how you would test it, what is open. Your turn ends with it. If they ask for changes, propose the whole plan
    again."""
    approval = Approval(kind="plan", action=storable(arguments.plan), reason=PLANNED)
    return Output("The user has the plan, and your turn ends here.", Effect(approval=approval))


def _shown(name: str) -> str:
    """A name that every system takes."""
    clean = re.sub(r"[/\\\x00-\x1f]", "_", name.encode(errors="replace").decode())
    return clean if len(clean) <= 200 else clean[:100] + "..." + clean[-90:]
