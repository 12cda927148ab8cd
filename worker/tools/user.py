"""What the user sees of the work: the session's title, the todo list, a message on the way."""

from __future__ import annotations

from pydantic import Field

from nightshift.models import Effect, Model, Todo
from worker.tools.base import Output, tool
from worker.tools.workbench import Workbench


class Title(Model):
    title: str = Field(min_length=1, max_length=120, description="A few words, under 60 characters.")


class TodoList(Model):
    items: list[Todo] = Field(max_length=50, description="The whole list; it replaces the last one.")


class Message(Model):
    text: str = Field(min_length=1, description="Markdown, in the user's language.")


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
    await bench.say(bench.turn, f"{bench.item_id}.message", arguments.text)
    return "The user can read it."
