"""The forge's REST side, called by PyGithub."""

import subprocess
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import BlockingPortal
from github import GithubException, UnknownObjectException
from github.PullRequest import PullRequest
from github.Repository import Repository

from demo import sample
from demo.forge import Forge
from tests.demo.forge_tools import clone, git, github, push_change, remote


@pytest.fixture
def work(forge: Forge, token: str, tmp_path: Path) -> Path:
    return clone(forge, token, tmp_path / "work")


@pytest.fixture
def pull(repo: Repository, work: Path) -> PullRequest:
    push_change(work, "fix/units", "tidytime/extra.py", "ONE = 1\nTWO = 2\n")
    return repo.create_pull(base="main", head="fix/units", title="Add extra", body="Fixes #1", draft=False)


def test_account_and_repositories(forge: Forge, token: str) -> None:
    client = github(forge, token)
    assert client.get_user().login == "nightshift"
    assert client.get_user("acme").public_repos == 1
    assert [it.full_name for it in client.get_user().get_repos()] == ["acme/tidytime"]
    assert [it.full_name for it in client.get_user("acme").get_repos()] == ["acme/tidytime"]
    assert client.get_rate_limit().rate.limit > 0


def test_repository(forge: Forge, repo: Repository) -> None:
    assert repo.default_branch == "main"
    assert repo.private
    assert repo.clone_url == f"{forge.url}/acme/tidytime.git"
    assert repo.permissions.push
    assert repo.open_issues_count == 1


def test_who_may_what(forge: Forge, repo: Repository, portal: BlockingPortal) -> None:
    portal.call(forge.create_repository, "acme", "secret")
    reader = github(forge, forge.add_token("reader", "ro", ["acme/tidytime"]))
    assert reader.get_repo("acme/tidytime").get_issue(1).title == repo.get_issue(1).title
    assert not reader.get_repo("acme/tidytime").permissions.push
    with pytest.raises(UnknownObjectException):
        reader.get_repo("acme/secret")
    with pytest.raises(GithubException) as refused:
        reader.get_repo("acme/tidytime").create_issue("Hello")
    assert refused.value.status == 403
    with pytest.raises(GithubException) as unknown:
        github(forge, "wrong").get_repo("acme/tidytime")
    assert unknown.value.status == 401


def test_errors_have_githubs_shape(forge: Forge, token: str) -> None:
    docs = "https://docs.github.com/rest"
    absent = {"message": "Not Found", "documentation_url": docs, "status": "404"}
    with httpx.Client(base_url=forge.api_url, headers={"Authorization": f"Bearer {token}"}) as client:
        for path in (
            "/repos/acme/absent",
            "/nowhere",
            "/repos/acme/tidytime/issues/99",
            "/repos/acme/tidytime/pulls/1",
        ):
            assert client.get(path).json() == absent
        assert client.put("/user").status_code == 404
        assert client.post("/repos/acme/tidytime/issues", content=b"{").status_code == 400
        missing = client.post("/repos/acme/tidytime/issues", json={})
        assert missing.status_code == 422
        assert missing.json()["errors"] == [{"resource": "Issue", "code": "missing_field", "field": "title"}]
    assert httpx.get(f"{forge.api_url}/user").json()["message"] == "Requires authentication"


def test_branches_and_refs(repo: Repository, work: Path) -> None:
    sha = push_change(work, "fix/units", "a.txt", "a\n")
    assert [it.name for it in repo.get_branches()] == ["fix/units", "main"]
    assert repo.get_branch("fix/units").commit.sha == sha
    with pytest.raises(GithubException):
        repo.get_branch("absent")
    ref = repo.get_git_ref("heads/fix/units")
    assert (ref.ref, ref.object.sha) == ("refs/heads/fix/units", sha)
    assert [it.ref for it in repo.get_git_matching_refs("heads/fix")] == ["refs/heads/fix/units"]
    assert [it.ref for it in repo.get_git_refs()] == ["refs/heads/fix/units", "refs/heads/main"]
    made = repo.create_git_ref("refs/heads/copy", sha)
    assert repo.get_branch("copy").commit.sha == sha
    with pytest.raises(GithubException, match="already exists"):
        repo.create_git_ref("refs/heads/copy", sha)
    made.delete()
    with pytest.raises(UnknownObjectException):
        repo.get_git_ref("heads/copy").object  # noqa: B018
    with pytest.raises(GithubException, match="does not exist"):
        made.delete()


def test_commits(repo: Repository, work: Path) -> None:
    sha = push_change(work, "feature", "a.txt", "a\nb\n")
    commit = repo.get_commit("feature")
    assert commit.sha == sha
    assert (commit.commit.message, commit.commit.author.email) == ("Write a.txt", "night@shift.invalid")
    assert [(it.filename, it.status, it.additions) for it in commit.files] == [("a.txt", "added", 2)]
    assert commit.stats.total == 2
    assert [it.sha for it in repo.get_commits(sha="feature")] == [sha, commit.parents[0].sha]
    assert [it.sha for it in repo.get_commits(sha="feature", path="a.txt")] == [sha]
    assert repo.get_commit(commit.parents[0].sha).stats.deletions == 0  # the first of all


def test_statuses_and_checks(repo: Repository) -> None:
    commit = repo.get_commit("main")
    assert commit.get_combined_status().state == "pending"
    commit.create_status("failure", context="ci", description="broken")
    commit.create_status("success", context="ci")
    assert [it.state for it in commit.get_statuses()] == ["success", "failure"]
    assert commit.get_combined_status().state == "success"
    run = repo.create_check_run("tests", commit.sha, status="in_progress")
    output = {"title": "Tests", "summary": "1 failed"}
    run.edit(conclusion="failure", output=output)  # pyright: ignore[reportUnknownMemberType]
    found = repo.get_commit("main").get_check_runs()
    assert [(it.name, it.status, it.conclusion, it.output.summary) for it in found] == [
        ("tests", "completed", "failure", "1 failed")
    ]
    assert repo.get_check_run(run.id).completed_at is not None


def test_contents(repo: Repository, work: Path) -> None:
    push_change(work, "feature", "tidytime/é #1.txt", "odd\n")
    file = repo.get_contents("tidytime/parsing.py")
    assert not isinstance(file, list)
    assert file.decoded_content == (sample.REPOSITORY / "tidytime/parsing.py").read_bytes()
    top = repo.get_contents("")
    assert isinstance(top, list)
    assert {(it.name, it.type) for it in top} >= {("README.md", "file"), ("tidytime", "dir")}
    inside = repo.get_contents("tidytime", ref="feature")
    assert isinstance(inside, list)
    assert "tidytime/é #1.txt" in [it.path for it in inside]
    odd = repo.get_contents("tidytime/é #1.txt", ref="feature")
    assert not isinstance(odd, list)
    assert odd.decoded_content == b"odd\n"
    for path, ref in (("absent", "main"), ("tidytime/é #1.txt", "main"), ("README.md", "absent")):
        with pytest.raises(GithubException) as absent:
            repo.get_contents(path, ref=ref)
        assert absent.value.status == 404


def test_compare(repo: Repository, work: Path) -> None:
    shas = [push_change(work, "fix/units", f"{name}.txt", "text\n") for name in "abc"]
    git(work, "mv", "a.txt", "renamed.txt")
    shas.append(push_change(work, "fix/units", "b.txt", "other\n"))
    comparison = repo.compare("main", "fix/units")
    assert (comparison.status, comparison.ahead_by, comparison.behind_by) == ("ahead", 4, 0)
    assert [it.sha for it in comparison.commits] == shas
    assert [it.filename for it in comparison.files] == ["b.txt", "c.txt", "renamed.txt"]
    assert repo.compare("fix/units", "main").status == "behind"
    last = repo.compare(shas[-2], shas[-1])
    assert {(it.filename, it.status, it.previous_filename) for it in last.files} >= {
        ("renamed.txt", "renamed", "a.txt")
    }
    with pytest.raises(UnknownObjectException):
        repo.compare("main", "absent").status  # noqa: B018


def test_issues(repo: Repository) -> None:
    issue = repo.get_issue(1)
    assert (issue.title, issue.body) == sample.issue()
    assert (issue.user.login, [it.name for it in issue.labels]) == ("dana", ["bug"])
    second = repo.create_issue("Another", body="Text", labels=["question"])
    assert [it.number for it in repo.get_issues()] == [2, 1]
    assert [it.number for it in repo.get_issues(labels=["bug"])] == [1]
    second.edit(title="Renamed", state="closed", state_reason="not_planned")
    assert [(it.number, it.title, it.state_reason) for it in repo.get_issues(state="closed")] == [
        (2, "Renamed", "not_planned")
    ]
    second.edit(state="open")
    assert repo.get_issue(2).closed_at is None
    second.add_to_labels("later")
    assert [it.name for it in second.get_labels()] == ["question", "later"]


def test_issue_comments(repo: Repository) -> None:
    issue = repo.get_issue(1)
    comment = issue.create_comment("On it.")
    comment.edit("Done.")
    assert [(it.user.login, it.body) for it in issue.get_comments()] == [("nightshift", "Done.")]
    assert issue.get_comment(comment.id).body == "Done."
    assert repo.get_issue(1).comments == 1
    comment.delete()
    assert repo.get_issue(1).comments == 0


def test_pages(repo: Repository) -> None:
    for number in range(2, 36):
        repo.create_issue(f"Number {number}")
    found = repo.get_issues()
    assert found.totalCount == 35
    assert [it.number for it in found] == list(range(35, 0, -1))
    assert len(found.get_page(1)) == 5
    assert [it.number for it in found.reversed][:2] == [1, 2]


def test_pull_request(repo: Repository, pull: PullRequest) -> None:
    assert (pull.number, pull.title, pull.body, pull.user.login) == (2, "Add extra", "Fixes #1", "nightshift")
    assert (pull.head.ref, pull.base.ref, pull.state) == ("fix/units", "main", "open")
    assert (pull.mergeable, pull.commits, pull.additions, pull.changed_files) == (True, 1, 2, 1)
    assert [(it.filename, it.patch) for it in pull.get_files()] == [
        ("tidytime/extra.py", "@@ -0,0 +1,2 @@\n+ONE = 1\n+TWO = 2")
    ]
    assert [it.sha for it in pull.get_commits()] == [pull.head.sha]
    pull.edit(title="Add more", body="Text")
    assert repo.get_pull(2).title == "Add more"
    assert pull.as_issue().pull_request is not None
    pull.create_issue_comment("Ready.")
    assert [it.body for it in pull.get_issue_comments()] == ["Ready."]
    assert repo.get_pull(2).comments == 1


def test_pull_request_filters(repo: Repository, pull: PullRequest) -> None:
    def numbers(**query: str) -> list[int]:
        return [it.number for it in repo.get_pulls(**query)]

    assert numbers() == numbers(head="acme:fix/units") == numbers(base="main", state="all") == [2]
    assert numbers(head="acme:other") == numbers(head="else:fix/units") == numbers(base="other") == []
    pull.edit(state="closed")
    assert numbers() == []
    assert numbers(state="closed") == [2]


def test_head_follows_pushes(
    forge: Forge, repo: Repository, pull: PullRequest, work: Path, portal: BlockingPortal
) -> None:
    sha = push_change(work, "fix/units", "CHANGELOG.md", "news\n")
    again = repo.get_pull(2)
    assert (again.head.sha, again.commits, again.changed_files) == (sha, 2, 2)
    assert [it.head.sha for it in repo.get_pulls()] == [sha]
    [(issue, ours)] = portal.call(forge.pull_requests, "acme", "tidytime")
    assert (issue.number, ours.head_sha) == (2, sha)
    git(work, "push", "--quiet", "origin", "--delete", "fix/units")
    assert (repo.get_pull(2).state, repo.get_pull(2).head.sha) == ("closed", sha)


def test_conflict_is_not_mergeable(repo: Repository, pull: PullRequest, work: Path) -> None:
    git(work, "switch", "--quiet", "main")
    push_change(work, "main", "tidytime/extra.py", "THREE = 3\n")
    assert repo.get_pull(2).mergeable is False


def test_pull_requests_that_cannot_be(repo: Repository, pull: PullRequest, work: Path) -> None:
    def refusal(head: str, base: str = "main") -> list[dict[str, str]]:
        with pytest.raises(GithubException) as refused:
            repo.create_pull(base=base, head=head, title="No")
        assert (refused.value.status, refused.value.data["message"]) == (422, "Validation Failed")
        return refused.value.data["errors"]

    exists = {"message": "A pull request already exists for acme:fix/units."}
    assert refusal("fix/units") == [{"resource": "PullRequest", "code": "custom"} | exists]
    git(work, "push", "--quiet", "origin", "origin/main:refs/heads/same")
    nothing = {"message": "No commits between main and same"}
    assert refusal("same") == [{"resource": "PullRequest", "code": "custom"} | nothing]
    assert refusal("absent") == [{"resource": "PullRequest", "code": "invalid", "field": "head"}]
    assert refusal("fix/units", "absent") == [{"resource": "PullRequest", "code": "invalid", "field": "base"}]
    pull.edit(state="closed")
    assert repo.create_pull(base="main", head="fix/units", title="Again").number == 3


def test_reviews_and_their_comments(forge: Forge, repo: Repository, pull: PullRequest) -> None:
    reviewer = github(forge, forge.add_token("dana")).get_repo("acme/tidytime").get_pull(2)
    reviewer.create_review(
        body="Nearly.",
        event="REQUEST_CHANGES",
        comments=[{"path": "tidytime/extra.py", "line": 1, "body": "Why one?"}],
    )
    assert [(it.user.login, it.state, it.body) for it in pull.get_reviews()] == [
        ("dana", "CHANGES_REQUESTED", "Nearly.")
    ]
    [asked] = pull.get_review_comments()
    assert (asked.path, asked.line, asked.diff_hunk) == ("tidytime/extra.py", 1, "@@ -0,0 +1,2 @@\n+ONE = 1")
    pull.create_review_comment_reply(asked.id, "Because.")
    own = pull.create_review_comment("Mine", repo.get_commit(pull.head.sha), "tidytime/extra.py", line=2)
    assert [(it.body, it.in_reply_to_id) for it in pull.get_review_comments()] == [
        ("Why one?", None),
        ("Because.", asked.id),
        ("Mine", None),
    ]
    assert pull.get_review_comment(own.id).body == "Mine"
    with pytest.raises(GithubException, match="your own pull request"):
        pull.create_review(event="APPROVE")


def test_merge_waits_for_an_approval(forge: Forge, repo: Repository, pull: PullRequest) -> None:
    with pytest.raises(GithubException, match="approving review") as refused:
        pull.merge()
    assert refused.value.status == 405
    github(forge, forge.add_token("dana")).get_repo("acme/tidytime").get_pull(2).create_review(event="APPROVE")
    with pytest.raises(GithubException) as moved:
        pull.merge(sha="0" * 40)
    assert moved.value.status == 409
    assert not pull.is_merged()
    done = pull.merge()
    assert pull.is_merged()
    assert repo.get_branch("main").commit.sha == done.sha == repo.get_pull(2).merge_commit_sha
    assert (repo.get_pull(2).state, repo.get_pull(2).merged) == ("closed", True)


def test_pull_request_from_a_fork(forge: Forge, repo: Repository, token: str, tmp_path: Path) -> None:
    fork = repo.create_fork()
    assert (fork.full_name, fork.parent.full_name) == ("nightshift/tidytime", "acme/tidytime")
    assert repo.create_fork().id == fork.id
    assert [it.full_name for it in repo.get_forks()] == ["nightshift/tidytime"]
    folder = tmp_path / "fork"
    git(tmp_path, "clone", "--quiet", remote(forge, token, fork.full_name), str(folder))
    sha = push_change(folder, "idea", "idea.txt", "idea\n")
    pull = repo.create_pull(base="main", head="nightshift:idea", title="Idea")
    assert (pull.head.sha, pull.head.repo.full_name, pull.changed_files) == (sha, fork.full_name, 1)
    github(forge, forge.add_token("dana")).get_repo("acme/tidytime").get_pull(pull.number).create_review(
        event="APPROVE"
    )
    pull.merge()
    assert repo.get_contents("idea.txt")
    git(forge.state.git("acme/tidytime").path, "fsck", "--strict")


def test_sample_can_be_fixed_as_documented(repo: Repository, work: Path) -> None:
    """The edits that the scripted model plays."""
    parsing = (work / "tidytime/parsing.py").read_text()
    assert parsing.count("(d|h|m|s|ms)") == 1
    push_change(work, "fix", "tidytime/parsing.py", parsing.replace("(d|h|m|s|ms)", "(d|h|ms|m|s)"))
    subprocess.run(["python3", "-B", "-m", "unittest", "--quiet"], cwd=work, check=True)
    assert repo.create_pull(base="main", head="fix", title="Read milliseconds", body="Fixes #1").mergeable
    changes = (work / "CHANGELOG.md").read_text()
    assert changes.count("- `format` rounds to whole milliseconds.\n") == 1
