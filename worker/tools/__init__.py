"""What the agent can do, in a fixed order: the list is part of the prompt cache's prefix."""

from __future__ import annotations

from typing import Any

from worker.tools.base import Output, Tool
from worker.tools.files import create, edit, view
from worker.tools.github import issue_comment, issue_read, pull_request
from worker.tools.repository import clone
from worker.tools.shell import shell
from worker.tools.user import message_user, set_title, todo
from worker.tools.workbench import Workbench

__all__ = ["ALL", "Output", "Tool", "Workbench", "by_name"]

ALL: tuple[Tool[Any], ...] = (
    shell,
    view,
    edit,
    create,
    clone,
    pull_request,
    issue_read,
    issue_comment,
    todo,
    message_user,
    set_title,
)


def by_name(name: str | None) -> Tool[Any] | None:
    return next((tool for tool in ALL if tool.name == name), None)
