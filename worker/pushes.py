"""Every `git push` is judged by what it would change: by a hook, whoever calls git.

A `git` that stands first on PATH gives pushes, and nothing else, a folder of hooks with one in it. (Set for all of git,
such a folder would keep a repository's own hooks from running, and from being installed.) The hook is
worker/inside/git.py: it gathers the facts, asks the worker, then runs the repository's own hook.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from nightshift.models import Approval
from worker import policy
from worker.outputs import Outputs
from worker.sandbox import PYTHON

OK = b"ok"
GIT = """\
#!/bin/sh
# The machine's own git; a push is checked first.
skip=
for word; do
    if [ "$skip" ]; then skip=; continue; fi
    case $word in
        -C | -c | --git-dir | --work-tree | --namespace | --config-env) skip=1 ;;
        -*) ;;
        push) exec {git} -c core.hooksPath={hooks} "$@" ;;
        *) break ;;
    esac
done
exec {git} "$@"
"""
HOOK = """\
#!/bin/sh
exec {hook} "$@"
"""


def install(programs: Outputs, socket: Path, path: str) -> None:
    """Write the commands into the folder that is to be first on PATH. Without a git there is none to check."""
    if git := shutil.which("git", path=path):
        hook = shlex.join([*PYTHON, str(programs.path / "git.py"), "push", str(socket)])
        quoted = {"git": shlex.quote(git), "hooks": shlex.quote(str(programs.path))}
        programs.put("git", GIT.format_map(quoted).encode(), executable=True)
        programs.put("pre-push", HOOK.format(hook=hook).encode(), executable=True)


async def answer(
    request: bytes, allows: Callable[[Approval], Awaitable[bool]], refuse: Callable[[str, Approval], None]
) -> bytes:
    """What the worker says to the hook. `refuse` is told (tool call, question) when the user must be asked."""
    asked: dict[str, Any] = json.loads(request)
    updates = tuple(
        policy.Update(update["ref"], update["old"], update["new"], update["forced"], tuple(update["files"]))
        for update in asked["updates"]
    )
    approval = policy.judge_push(policy.Push(asked["url"], asked["default"], updates))
    if approval is None or await allows(approval):
        return OK
    refuse(asked["call"], approval)
    return approval.reason.encode()
