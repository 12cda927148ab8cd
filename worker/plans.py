"""Plan first: until the user approves a plan, the agent looks and changes nothing but its own clones.

The list of tools stays as it is, because it stands at the front of every request, where the prompt cache wants the same
bytes: calls are refused instead. The shell is refused whole: what a command changes cannot be read off its text.
"""

from __future__ import annotations

from worker.tools.base import Output
from worker.tools.toolset import AnyTool

HARMLESS = frozenset({"clone", "todo", "set_title", "message_user", "send_file", "propose_plan"})
"""Besides the tools that only look."""
REFUSED = """\
Not done: the user wants to approve a plan before anything is changed, and {name} can change things. Find out what you
need with view, search, find_files, clone, issue_read, pr_read and the like, then call propose_plan. All tools work once
the user has approved the plan with its button."""


def refusal(tool: AnyTool) -> Output | None:
    """What a call is answered with while a plan is awaited; None if it may be made."""
    if tool.reads or tool.name in HARMLESS:
        return None
    return Output(REFUSED.format(name=tool.name).replace("\n", " "), is_error=True)
