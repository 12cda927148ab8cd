"""A forge with the sample repository, and a workbench whose session may use all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from demo import sample
from demo.forge import Forge
from nightshift.errors import Permanent
from nightshift.models import GitHubToken
from tests.demo.forge_tools import github
from tests.worker.conftest import configuration, use, workbench
from worker import credentials
from worker.credentials import Tokens
from worker.masking import Secrets
from worker.tools import Output, Workbench

REPOSITORY = f"{sample.OWNER}/{sample.NAME}"


@asynccontextmanager
async def forged(
    folder: Path, forge: Forge, token: str, *allowed: str, revoked: bool = False
) -> AsyncGenerator[Workbench]:
    """A workbench. Afterwards the token is in no file of the machine. `revoked`: the first one is worth nothing."""
    secrets = Secrets()

    async def fetch(repository: str, renew: bool) -> GitHubToken:
        if allowed and repository not in allowed:
            raise Permanent("Not this session's repository.")
        return GitHubToken(token=token if renew or not revoked else "ghp_revoked" + "0" * 25)

    config = configuration(github_api_url=forge.api_url, github_host=forge.url)
    tokens = Tokens(fetch, secrets.add)
    async with (
        workbench(folder, config, tokens, secrets) as bench,
        credentials.serve(tokens, config.github_host, bench.socket, bench.check_push),
    ):
        yield bench
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert token.encode() not in everything


async def commit(bench: Workbench, text: str, branch: str = "nightshift/s1", repository: str = REPOSITORY) -> None:
    command = f"cd {bench.workspace}/{repository} && (git switch -qc {branch} || git switch -q {branch})"
    output = await use(
        bench, "shell", command=f"{command} && echo {text} >> new.txt && git add . && git commit -qm {text}"
    )
    assert not output.is_error, output.text


async def publish(bench: Workbench, title: str = "A title", repository: str = REPOSITORY, **more: object) -> Output:
    return await use(bench, "pull_request", repository=repository, title=title, body="Fixes #1", base=None, **more)


def api(forge: Forge, token: str, repository: str = REPOSITORY):
    return github(forge, token).get_repo(repository)
