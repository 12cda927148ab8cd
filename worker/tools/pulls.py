"""Pull requests: opening and updating, reading reviews and checks, answering remarks. Never merging or approving."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from nightshift.errors import ModelRetry
from nightshift.models import Effect, Model, PullRequest
from worker import knowledge, outside
from worker.tools import nearby, text
from worker.tools.base import Output, tool
from worker.tools.github import LONGEST, NAME, association, login, on_github, shown, trusted
from worker.tools.repository import git, local, push
from worker.tools.workbench import Workbench

if TYPE_CHECKING:
    from github.PullRequest import PullRequest as Pull
    from github.PullRequestComment import PullRequestComment
    from github.Repository import Repository

MERGEABLE = {None: "not known yet", True: "yes", False: "NO, it conflicts"}


class PullRequestArguments(Model):
    repository: str = Field(pattern=NAME, description="owner/name, cloned before")
    title: str = Field(min_length=1, max_length=250)
    body: str = Field(
        max_length=LONGEST,
        description="Markdown: what changed, why, how it was tested. Follow the repository's template if it has one.",
    )
    base: str | None = Field(default=None, description="Null: the repository's default branch.")
    closes: int | None = Field(default=None, ge=1, description="The issue that is done with this.")
    draft: bool = Field(default=False, description="Opened as a draft; one that is open stays what it is.")
    labels: list[str] = Field(default=[], max_length=20)
    reviewers: list[str] = Field(default=[], max_length=15, description="Logins, if the user names them.")


class PullRead(Model):
    repository: str = Field(pattern=NAME, description="owner/name")
    number: int = Field(ge=1)
    everyone: bool = Field(default=False, description="Words of people without write access, too.")


class PullReply(Model):
    repository: str = Field(pattern=NAME, description="owner/name")
    number: int = Field(ge=1, description="Of the pull request.")
    thread: int = Field(ge=1, description="As pr_read shows it.")
    body: str = Field(min_length=1, max_length=LONGEST, description="Markdown.")


@tool(PullRequestArguments, repeatable=True)
async def pull_request(arguments: PullRequestArguments, bench: Workbench) -> Output:
    """Push the current branch of a cloned repository and open its pull request, or update the one that it has.
    Commit first. The default branch is never pushed; where you may not push, it goes through a fork."""
    folder = local(arguments.repository, bench)
    if not (folder / ".git").is_dir():
        raise ModelRetry(f"{arguments.repository} is not cloned. Use clone first.")
    branch = await git(bench, "rev-parse", "--abbrev-ref", "HEAD", cwd=folder)
    base, default = await on_github(
        arguments.repository, bench, lambda found: (arguments.base or found.default_branch, found.default_branch)
    )
    if branch in (base, default, "HEAD"):
        raise ModelRetry(f"You are on {branch!r}. Make a branch of your own: git switch -c {_own_branch(bench)}")
    await git(bench, "fetch", "origin", f"+refs/heads/{base}:refs/remotes/origin/{base}", cwd=folder)
    if await git(bench, "rev-list", "--count", f"origin/{base}..{branch}", cwd=folder) == "0":
        raise ModelRetry(f"{branch} has no commit that {base} has not. Commit your work first.")
    notes = [await _beside(base, branch, folder, bench), await _headings_missing(arguments.body, folder, bench)]
    owner = await push(arguments.repository, branch, bench)
    if uncommitted := await git(bench, "status", "--short", cwd=folder):
        notes.append(f"Not committed, so not part of it:\n{uncommitted}")
    body = bench.secrets.mask(arguments.body + _footer(arguments, bench))

    def publish(repository: Repository) -> tuple[str, PullRequest]:
        head = f"{owner}:{branch}"
        for pull in repository.get_pulls(state="open", head=head):
            if pull.head.label == head:
                pull.edit(title=arguments.title, body=body, base=base)
                verb = "Updated"
                break
        else:
            pull = repository.create_pull(base, head, title=arguments.title, body=body, draft=arguments.draft)
            verb = "Opened"
        notes.extend(_dressed(pull, arguments))
        return verb, PullRequest(
            repository=arguments.repository,
            number=pull.number,
            url=pull.html_url,
            title=arguments.title,
            branch=branch,
        )

    verb, pull = await on_github(arguments.repository, bench, publish)
    told = "\n".join([f"{verb} pull request #{pull.number}: {pull.url}", *filter(None, notes)])
    return Output(told, Effect(pull_request=pull))


@tool(PullRead, repeatable=True, reads=True)
async def pr_read(arguments: PullRead, bench: Workbench) -> str:
    """Read a pull request: its state, whether it can be merged, its checks, reviews, and remarks on lines with the
    thread ids that pr_reply takes. The rest of the conversation is read with issue_read."""

    def read(repository: Repository) -> str:
        pull = repository.get_pull(arguments.number)
        state = "merged" if pull.merged else "a draft" if pull.draft else pull.state
        mergeable = MERGEABLE[pull.raw_data.get("mergeable")]
        author = login(pull)
        reviews, note = trusted(pull.get_reviews(), author, arguments.everyone)
        remarks, other_note = trusted(pull.get_review_comments(), author, arguments.everyone)
        parts = [
            f"# {outside.line(pull.title)}",
            f"{state}, by {author} ({association(pull)}); {pull.head.label} at {pull.head.sha} -> {pull.base.ref};"
            f" mergeable: {mergeable} ({pull.mergeable_state})",
            _checks(repository, pull.head.sha),
            outside.clean(pull.body) or "[no text]",
            *(shown(review, "review", f" state={review.state}") for review in reviews if review.body or _said(review)),
            *_threads(remarks),
        ]
        return outside.wrap(f"{arguments.repository}#{pull.number}", "\n\n".join(parts) + note + other_note)

    return text.cut(await on_github(arguments.repository, bench, read), "read it on the web page")


@tool(PullReply, repeatable=True)
async def pr_reply(arguments: PullReply, bench: Workbench) -> str:
    """Answer a remark on a line of a pull request, in its thread."""
    marker = f"<!-- nightshift:{bench.item_id} -->"

    def reply(repository: Repository) -> str:
        pull = repository.get_pull(arguments.number)
        for earlier in pull.get_review_comments():
            if marker in (earlier.body or ""):  # this very call got through before a restart
                return earlier.html_url
        body = f"{bench.secrets.mask(arguments.body)}\n\n{marker}"
        return pull.create_review_comment_reply(arguments.thread, body).html_url

    return "Answered: " + await on_github(arguments.repository, bench, reply)


async def _beside(base: str, branch: str, folder: Path, bench: Workbench) -> str:
    """How the branch stands to its base, with what to do about it."""
    behind = await git(bench, "rev-list", "--count", f"{branch}..origin/{base}", cwd=folder)
    if behind == "0":
        return ""
    trial = ("merge-tree", "--write-tree", "--name-only", "--no-messages", f"origin/{base}", branch)
    conflicts = (await bench.git(*trial, cwd=folder, fine=(0, 1))).decode(errors="replace").splitlines()[1:]
    if not conflicts:
        return f"{branch} is {behind} commits behind {base} and merges without conflict."
    return (
        f"It conflicts with {base} in {', '.join(filter(None, conflicts))}. Run `git merge origin/{base}`, resolve,"
        " commit, and call pull_request again. Do not rebase what is published."
    )


async def _headings_missing(body: str, folder: Path, bench: Workbench) -> str:
    known = await nearby.base(folder.resolve(), bench)
    if len(known.templates) != 1:
        return ""
    wanted = knowledge.headings(await knowledge.template(folder, known, bench.git))
    missing = [heading for heading in wanted if heading.lower() not in body.lower()]
    if not missing:
        return ""
    listed = ", ".join(map(repr, missing))
    return f"The repository's template ({known.templates[0]}) has headings that the body lacks: {listed}."


def _footer(arguments: PullRequestArguments, bench: Workbench) -> str:
    closes = (
        f"\n\nCloses #{arguments.closes}" if arguments.closes and f"#{arguments.closes}" not in arguments.body else ""
    )
    session = f"[Nightshift session]({bench.session_url}) <!-- nightshift:session:{bench.config.session_id} -->"
    return f"{closes}\n\n---\n{session}"


def _dressed(pull: Pull, arguments: PullRequestArguments) -> Iterable[str]:
    """Labels and reviewers; that a stranger may set neither does not undo the pull request."""
    from github import GithubException

    try:
        if arguments.labels:
            pull.add_to_labels(*arguments.labels)
        if arguments.reviewers:
            pull.create_review_request(reviewers=arguments.reviewers)
    except GithubException as fault:
        yield f"Labels or reviewers were not set: GitHub answered {fault.status}: {fault.message or fault.data}"


def _checks(repository: Repository, sha: str) -> str:
    commit = repository.get_commit(sha)
    states = [(run.name, run.conclusion or run.status) for run in commit.get_check_runs()]
    states += [(status.context, status.state) for status in commit.get_combined_status().statuses]
    listed = ", ".join(f"{outside.line(name)}: {state}" for name, state in states[:50])
    return f"Checks: {listed or 'none'}"


def _said(review: object) -> bool:
    return getattr(review, "state", "") in ("APPROVED", "CHANGES_REQUESTED")


def _threads(remarks: Iterable[PullRequestComment]) -> Iterable[str]:
    threads: dict[int, list[PullRequestComment]] = {}
    for remark in remarks:
        threads.setdefault(remark.in_reply_to_id or remark.id, []).append(remark)
    for thread, said in threads.items():
        first = said[0]
        line = first.raw_data.get("line")
        where = f"line={line}" if line else f"line={first.raw_data.get('original_line')} outdated=true"
        where = "whole_file=true" if first.raw_data.get("subject_type") == "file" else where
        hunk = "\n".join(outside.clean(first.diff_hunk).splitlines()[-6:])
        comments = "\n".join(shown(remark, "comment") for remark in said)
        yield f"<thread id={thread} file={outside.line(first.path)} {where}>\n{hunk}\n{comments}\n</thread>"


def _own_branch(bench: Workbench) -> str:
    return f"nightshift/{bench.config.session_id}"
