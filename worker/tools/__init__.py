"""What the agent can do of itself."""

from __future__ import annotations

from worker.tools.background import background
from worker.tools.base import Output
from worker.tools.files import create, edit, insert, undo, view
from worker.tools.github import issue_comment, issue_read, pull_request
from worker.tools.repository import clone
from worker.tools.search import find_files, search
from worker.tools.shell import shell
from worker.tools.toolset import AnyTool, Others, Toolset
from worker.tools.user import message_user, send_file, set_title, todo
from worker.tools.workbench import Workbench

__all__ = ["OWN", "AnyTool", "Others", "Output", "Toolset", "Workbench"]

OWN: tuple[AnyTool, ...] = (
    shell,
    background,
    view,
    edit,
    create,
    insert,
    undo,
    search,
    find_files,
    clone,
    pull_request,
    issue_read,
    issue_comment,
    todo,
    message_user,
    send_file,
    set_title,
)
"""In this order, for ever: the list is part of the prompt cache's prefix."""
