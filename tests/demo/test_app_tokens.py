"""Installation tokens of a GitHub App, from the demo's forge, whose answers are held to GitHub's own description."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from anyio import to_thread

from api.pages.forge import Forge as Pages
from api.pages.forge import PullState
from demo import sample
from demo.forge import Forge
from demo.forge.rest import apps
from nightshift.errors import Permanent, Retryable, Unprocessable
from nightshift.github import AppTokens
from nightshift.models import PullRequest
from nightshift.services import build
from nightshift.settings import GitHubApp, Settings
from nightshift.testing.wire import Answer, Request, serve
from tests.demo.forge_tools import clone, push_change

REPO, OTHER = "acme/tidytime", "acme/other"
BASE = {"NIGHTSHIFT_SIGNING_KEY": "k" * 64}


@pytest.fixture
async def forge(tmp_path: Path) -> AsyncIterator[Forge]:
    forge = Forge(tmp_path / "forge")
    await sample.plant(forge)
    await forge.create_repository("acme", "other")
    await forge.start()
    yield forge
    await forge.stop()


@pytest.fixture
def app(forge: Forge) -> GitHubApp:
    return GitHubApp(*forge.add_app())


@pytest.fixture
async def tokens(forge: Forge, app: GitHubApp) -> AsyncIterator[AppTokens]:
    tokens = AppTokens(forge.api_url, app)
    yield tokens
    await tokens.close()


async def status(forge: Forge, token: str, repository: str) -> int:
    async with httpx.AsyncClient(base_url=forge.api_url, headers={"Authorization": f"Bearer {token}"}) as http:
        return (await http.get(f"/repos/{repository}")).status_code


async def test_a_token_opens_the_repository_it_was_asked_for(forge: Forge, app: GitHubApp, tokens: AppTokens) -> None:
    forge.install(app.id, [REPO, OTHER])
    mine, other = await tokens.token(REPO), await tokens.token(OTHER)
    assert [await status(forge, mine.token, name) for name in (REPO, OTHER)] == [200, 404]
    assert [await status(forge, other.token, name) for name in (REPO, OTHER)] == [404, 200]
    assert mine.expires_at is not None
    assert timedelta(minutes=55) < mine.expires_at - datetime.now(UTC) <= timedelta(hours=1)


async def test_it_asks_for_no_more_than_agents_need(forge: Forge, app: GitHubApp, tokens: AppTokens) -> None:
    granted = {"contents": "write", "pull_requests": "write", "issues": "read", "administration": "write"}
    forge.install(app.id, [REPO], granted)
    asked: list[dict[str, str]] = []

    async def note(request: httpx.Request) -> None:
        if request.method == "POST":
            asked.append(json.loads(request.content)["permissions"])

    tokens._http.event_hooks["request"].append(note)  # pyright: ignore[reportPrivateUsage]
    await tokens.token(REPO)
    assert asked == [{"contents": "write", "pull_requests": "write", "issues": "read"}]


async def test_a_token_is_kept_until_shortly_before_it_expires(
    forge: Forge, app: GitHubApp, tokens: AppTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.install(app.id, [REPO])
    first = await tokens.token(REPO)
    assert await tokens.token(REPO.upper()) == first
    monkeypatch.setattr(apps, "LIFETIME", timedelta(minutes=9))
    assert await tokens.token(REPO) == first
    short = await tokens.token(REPO, renew=True)
    assert short.token != first.token
    assert (await tokens.token(REPO)).token != short.token, "nine minutes are too few to begin with"


async def test_a_token_that_was_revoked_is_replaced_when_github_refuses_it(
    forge: Forge, app: GitHubApp, tokens: AppTokens
) -> None:
    forge.install(app.id, [REPO])
    revoked = await tokens.token(REPO)
    forge.state.records.tokens.clear()
    assert await status(forge, revoked.token, REPO) == 401
    renewed = await tokens.token(REPO, renew=True)
    assert await status(forge, renewed.token, REPO) == 200


async def test_repositories_to_choose_from_are_those_of_all_installations(
    forge: Forge, app: GitHubApp, tokens: AppTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await tokens.repositories() == []
    await forge.create_repository("octo", "third")
    await forge.create_repository("octo", "not-installed")
    forge.install(app.id, [REPO, OTHER])
    theirs = forge.install(app.id, ["octo/third"])
    monkeypatch.setattr("nightshift.github._PAGE", 1)  # more than one page of them
    found = await tokens.repositories()
    assert sorted(found) == sorted([REPO, OTHER, "octo/third"])
    theirs.suspended = True
    assert sorted(await tokens.repositories()) == sorted([REPO, OTHER])


async def test_the_pages_see_pull_requests_by_the_apps_tokens(
    forge: Forge, app: GitHubApp, tokens: AppTokens, tmp_path: Path
) -> None:
    installed = forge.install(app.id, [REPO])
    token = forge.add_token("dana")

    def work() -> str:
        return push_change(clone(forge, token, tmp_path / "work"), "feature", "extra.txt", "text\n")

    sha = await to_thread.run_sync(work)
    async with httpx.AsyncClient(base_url=forge.api_url, headers={"Authorization": f"Bearer {token}"}) as http:
        body = {"title": "t", "head": "feature", "base": "main"}
        made = (await http.post(f"/repos/{REPO}/pulls", json=body)).raise_for_status().json()
    jobs = forge.start_workflow("acme", "tidytime", sha, ["test"])
    pull = PullRequest(repository=REPO, number=made["number"], url=made["html_url"], title="t", branch="feature")

    async def seen() -> PullState:
        pages = Pages(forge.api_url, tokens)  # each remembers for a while
        async with asyncio.timeout(30):
            while not (found := await pages.pulls([pull])):
                await asyncio.sleep(0.02)
        return found[pull.url]

    assert await seen() == PullState("open", "running")
    forge.finish_job(jobs["test"], "failure", "a log")
    assert await seen() == PullState("open", "failing")
    forge.state.records.tokens.clear()
    assert await seen() == PullState("open", "failing"), "a token that was revoked is replaced"
    installed.suspended = True
    forge.state.records.tokens.clear()
    assert await Pages(forge.api_url, tokens).repositories() == []


async def test_what_only_a_person_can_mend_says_how(forge: Forge, app: GitHubApp, tokens: AppTokens) -> None:
    with pytest.raises(Unprocessable, match=f"App {app.id} is not installed on {REPO} .* install it there"):
        await tokens.token(REPO)
    installed = forge.install(app.id, [REPO], {"contents": "read", "metadata": "read"})
    with pytest.raises(Unprocessable, match="lacks contents: write, pull_requests: write"):
        await tokens.token(REPO)
    installed.permissions = apps.PERMISSIONS
    installed.suspended = True
    with pytest.raises(Unprocessable, match="suspended"):
        await tokens.token(REPO)
    with pytest.raises(Unprocessable, match="say which"):
        await tokens.token(None)
    forge.state.records.apps.clear()
    with pytest.raises(Unprocessable, match="GITHUB_APP_PRIVATE_KEY"):
        await tokens.token(REPO, renew=True)


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (Answer(502, {"message": "Bad Gateway"}), None),
        (Answer(429, {"message": "Slow down"}, {"Retry-After": "7"}), 7),
        (Answer(403, {"message": "API rate limit exceeded"}, {"X-RateLimit-Remaining": "0"}), None),
        (None, None),
    ],
)
async def test_what_may_pass_is_tried_again(app: GitHubApp, answer: Answer | None, after: float | None) -> None:
    async def say(request: Request) -> Answer | None:
        return answer

    server = await serve(say, "127.0.0.1", 0)
    tokens = AppTokens(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", app)
    try:
        with pytest.raises(Retryable) as error:
            await tokens.token(REPO)
        assert error.value.retry_after == after
    finally:
        await tokens.close()
        server.close()
        await server.wait_closed()


async def test_the_settings_choose_the_app_before_the_token(app: GitHubApp, tmp_path: Path) -> None:
    both = {"GITHUB_TOKEN": "pat", "GITHUB_APP_ID": app.id, "GITHUB_APP_PRIVATE_KEY": app.private_key}
    services = build(Settings.read(BASE | {"NIGHTSHIFT_DATA_DIR": str(tmp_path)} | both))
    assert isinstance(services.github, AppTokens)
    assert "PRIVATE KEY" not in repr(services.settings)
    await services.close()
    one_line = app.private_key.replace("\n", "\\n")
    await AppTokens("https://api.github.com", GitHubApp(app.id, one_line)).close()


@pytest.mark.parametrize("key", ["", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/key)", "secret"])
def test_a_key_that_is_none_stops_the_app_with_advice(key: str, tmp_path: Path) -> None:
    environment = BASE | {"NIGHTSHIFT_DATA_DIR": str(tmp_path), "GITHUB_APP_ID": "7", "GITHUB_APP_PRIVATE_KEY": key}
    with pytest.raises(Permanent, match="GITHUB_APP_PRIVATE_KEY") as error:
        build(Settings.read(environment))
    assert error.value.advice
    assert "secret" not in str(error.value)
