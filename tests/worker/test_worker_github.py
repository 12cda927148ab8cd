"""Git and GitHub against the demo's forge: real clones and pushes with a token that is nowhere to be seen."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from demo import sample
from demo.forge import Forge
from nightshift.models import GitHubToken, ReportKind
from tests.worker.conftest import Machine, configuration, use
from tests.worker.controlplane import ControlPlane
from tests.worker.forging import REPOSITORY, commit, forged, publish
from worker.credentials import Tokens
from worker.tools import Workbench


@pytest_asyncio.fixture
async def bench(tmp_path: Path, forge: Forge) -> AsyncGenerator[Workbench]:
    folder = tmp_path / ("deep" * 30) / "machine"  # longer than the address of a Unix socket may be
    async with forged(folder, forge, forge.add_token("nightshift"), REPOSITORY) as bench:
        yield bench


async def test_half_a_clone_is_never_taken_for_a_whole_one(bench: Workbench) -> None:
    """A machine that lost its power in the middle of a clone leaves a `.git` without commits."""
    folder = bench.workspace / REPOSITORY
    await use(bench, "shell", command=f"git init -q {sample.OWNER}/.{sample.NAME}.clone")
    output = await use(bench, "clone", repository=REPOSITORY)
    assert not output.is_error, output.text
    assert sorted(folder.parent.iterdir()) == [folder]
    await commit(bench, "a")
    assert "Opened pull request" in (await publish(bench)).text


@pytest.mark.parametrize("first", ["clone", "issue_read"])
async def test_a_token_that_github_refuses_is_renewed(tmp_path: Path, forge: Forge, first: str) -> None:
    """It was revoked before its time: git's helper and the tools tell, and the next call has a new one."""
    number: dict[str, object] = {"number": 1} if first == "issue_read" else {}
    async with forged(tmp_path / "machine", forge, forge.add_token("nightshift"), REPOSITORY, revoked=True) as bench:
        refused = await use(bench, first, repository=REPOSITORY, **number)
        assert refused.is_error
        again = await use(bench, first, repository=REPOSITORY, **number)
        assert not again.is_error, again.text


async def test_clone_leaves_a_folder_of_that_name_alone(bench: Workbench) -> None:
    (bench.workspace / REPOSITORY).mkdir(parents=True)
    assert "is no clone" in (await use(bench, "clone", repository=REPOSITORY)).text


async def test_clone_brings_the_repositorys_knowledge(bench: Workbench) -> None:
    output = await use(bench, "clone", repository=REPOSITORY)
    assert not output.is_error, output.text
    assert f"Cloned into {bench.workspace}/{REPOSITORY}." in output.text
    assert f'<knowledge file="{REPOSITORY}/AGENTS.md">' in output.text
    again = await use(bench, "clone", repository=REPOSITORY)
    assert "it was in" in again.text
    url = await use(bench, "shell", command=f"git -C {bench.workspace}/{REPOSITORY} remote get-url origin")
    assert url.text.startswith(f"{bench.config.github_host}/{REPOSITORY}.git\n")


async def test_a_repository_of_others_is_not_opened(bench: Workbench) -> None:
    output = await use(bench, "clone", repository="other/one")
    assert output.is_error
    assert "Not this session's repository." in output.text


async def test_the_socket_is_the_users_own_and_serves_one_host(bench: Workbench) -> None:
    assert stat.S_IMODE(bench.socket.stat().st_mode) == 0o600
    fill = "fill=fill; printf 'protocol=http\\nhost=%s\\npath=acme/tidytime.git\\n\\n' {} | git credential"
    ask = f"{fill} $fill"  # written out it would be asked for
    own = await use(bench, "shell", command=ask.format(bench.config.github_host.removeprefix("http://")))
    assert "username=x-access-token\npassword=[secret removed]" in own.text
    other = await use(bench, "shell", command=ask.format("127.0.0.1:1"))
    assert "terminal prompts disabled" in other.text


async def test_a_pull_request_is_opened_once_and_updated(bench: Workbench, forge: Forge) -> None:
    await use(bench, "clone", repository=REPOSITORY)
    assert "Make a branch of your own: git switch -c nightshift/s1" in (await publish(bench)).text
    await use(bench, "shell", command=f"cd {bench.workspace}/{REPOSITORY} && git switch -c nightshift/s1")
    assert "Commit your work first" in (await publish(bench)).text
    await commit(bench, "one")
    assert "Opened pull request #2" in (await publish(bench)).text
    await commit(bench, "two")
    await use(bench, "shell", command=f"touch {bench.workspace}/{REPOSITORY}/forgotten.txt")
    told = (await publish(bench, "Another title")).text
    assert "Updated pull request #2" in told
    assert "forgotten.txt" in told
    ((issue, pull),) = await forge.pull_requests(sample.OWNER, sample.NAME)
    assert issue.title == "Another title"
    assert "http://x/sessions/s1" in (issue.body or "")
    head = await use(bench, "shell", command=f"git -C {bench.workspace}/{REPOSITORY} rev-parse HEAD")
    assert head.text.split()[0] == pull.head_sha


async def test_an_issue_is_read_as_material(bench: Workbench, forge: Forge) -> None:
    await use(bench, "issue_comment", repository=REPOSITORY, number=1, body="I look into it.")
    text = (await use(bench, "issue_read", repository=REPOSITORY, number=1)).text
    assert sample.issue()[0] in text
    assert "I look into it." in text
    assert text.startswith("What follows was written by others.")
    assert "GitHub answered 404" in (await use(bench, "issue_read", repository=REPOSITORY, number=99)).text


async def test_the_same_comment_call_does_not_double(bench: Workbench, forge: Forge) -> None:
    from worker.tools.issues import issue_comment

    arguments = f'{{"repository": "{REPOSITORY}", "number": 1, "body": "Done."}}'
    for _ in range(2):
        output = await issue_comment(arguments, bench.for_call(1, "1.resp.0", "call_1"))
        assert output.text.startswith("Commented: http")
    assert len(forge.comments(sample.OWNER, sample.NAME, 1)) == 1


@pytest.mark.parametrize(("lifetime", "fetches"), [(timedelta(hours=1), 1), (timedelta(minutes=1), 2)])
async def test_a_token_is_kept_until_it_nearly_expires(lifetime: timedelta, fetches: int) -> None:
    fetched: list[str] = []

    async def fetch(repository: str, renew: bool) -> GitHubToken:
        fetched.append(repository)
        return GitHubToken(token="t" * 20, expires_at=datetime.now(UTC) + lifetime)

    tokens = Tokens(fetch, lambda token: None)
    assert [await tokens.get("o/n"), await tokens.get("o/n")] == ["t" * 20] * 2
    assert len(fetched) == fetches


async def test_the_demo_from_issue_to_updated_pull_request(plane: ControlPlane, machine: Machine, forge: Forge) -> None:
    plane.config = configuration(github_api_url=forge.api_url, github_host=forge.url)
    plane.github_token = forge.add_token("nightshift")
    await machine.start()
    first = await plane.answered(await plane.say("Please fix issue #1."))
    assert first.kind is ReportKind.COMPLETED
    (failed,) = [item.text for item in plane.items if item.is_error]
    assert "FAIL: test_milliseconds" in failed, "nothing fails but the test that shows the bug"
    ((issue, pull),) = await forge.pull_requests(sample.OWNER, sample.NAME)
    assert pull.head_ref == "nightshift/s1"
    assert "/pull/2" in plane.finals()[0]
    before = pull.head_sha
    await plane.answered(await plane.say("Now add a line to the changelog."))
    ((issue, pull),) = await forge.pull_requests(sample.OWNER, sample.NAME)
    assert pull.head_sha != before
    assert "the changelog says so" in (issue.body or "")
    assert len(plane.finals()) == 2
    tested = await asyncio.create_subprocess_exec(
        *("python3", "-B", "-m", "unittest"),
        cwd=machine.folder / "workspace" / REPOSITORY,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await tested.wait() == 0
    assert plane.github_token not in str(plane.items)
