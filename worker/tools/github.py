"""GitHub's REST API: signed in for one repository, away from the event loop, faults as text for the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from nightshift.errors import ModelRetry
from worker import outside
from worker.tools.workbench import Workbench

if TYPE_CHECKING:
    from github.Repository import Repository

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
"""owner/name. It becomes a path, so it is never `..`."""
LONGEST = 60_000
"""Characters of a body; GitHub takes 65,536."""


async def on_github[T](name: str, bench: Workbench, work: Callable[[Repository], T]) -> T:
    """Run blocking PyGithub calls in a thread. Raises ModelRetry with GitHub's own words."""
    # PyGithub is a quarter of a worker's start, and most sessions begin with other things.
    from github import Auth, BadCredentialsException, Github, GithubException, GithubRetry

    token = await bench.tokens.get(name)
    auth = Auth.Token(token)
    client = Github(auth=auth, base_url=bench.config.github_api_url, timeout=30, retry=GithubRetry(total=3))
    try:
        return await asyncio.to_thread(lambda: work(client.get_repo(name)))
    except BadCredentialsException as fault:
        bench.tokens.refuse(name, token)
        raise ModelRetry(f"GitHub refused the token for {name}; a new one is asked for. Call again.") from fault
    except GithubException as fault:
        raise ModelRetry(f"GitHub answered {fault.status} about {name}: {fault.message or fault.data}") from fault
    finally:
        client.close()


class Written(Protocol):
    """What somebody wrote."""

    @property
    def user(self) -> Any: ...
    @property
    def body(self) -> str | None: ...
    @property
    def raw_data(self) -> dict[str, Any]: ...


def association(written: Written) -> str:
    """What its author is to the repository: OWNER, MEMBER, COLLABORATOR, CONTRIBUTOR, NONE ..."""
    return str(written.raw_data.get("author_association", "NONE"))


def trusted[W: Written](written: Iterable[W], author: str, everyone: bool) -> tuple[list[W], str]:
    """Those of people who may write to the repository and of the conversation's own author, and a note on the rest."""
    everything = list(written)
    kept = [it for it in everything if everyone or association(it) in outside.WRITERS or login(it) == author]
    left = len(everything) - len(kept)
    return kept, f"\n[{left} by people without write access left out; everyone=true shows them]" if left else ""


def login(written: Written) -> str:
    """GitHub shows somebody who is no more as `ghost`."""
    return written.user.login if written.raw_data.get("user") else "ghost"


def shown(written: Written, mark: str, more: str = "") -> str:
    """One comment, with who wrote it."""
    head = f"<{mark} author={login(written)} association={association(written)}{more}>"
    return f"{head}\n{outside.clean(written.body) or '[no text]'}\n</{mark}>"
