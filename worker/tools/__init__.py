"""What the agent can do of itself."""

from __future__ import annotations

from worker.tools.background import background
from worker.tools.base import Output
from worker.tools.ci import ci_wait
from worker.tools.files import create, edit, insert, undo, view
from worker.tools.issues import issue_comment, issue_create, issue_read, issue_search
from worker.tools.pulls import pr_read, pr_reply, pull_request
from worker.tools.repository import clone
from worker.tools.search import find_files, search
from worker.tools.shell import shell
from worker.tools.toolset import AnyTool, Others, Toolset
from worker.tools.user import message_user, propose_plan, send_file, set_title, todo
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
    pr_read,
    pr_reply,
    ci_wait,
    issue_read,
    issue_search,
    issue_comment,
    issue_create,
    todo,
    message_user,
    send_file,
    set_title,
    propose_plan,
)
"""In this order, for ever: the list is part of the prompt cache's prefix."""
