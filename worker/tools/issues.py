"""Issues, and the conversation of pull requests: reading, commenting, searching, opening."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pydantic import Field

from nightshift.models import Model
from worker import outside
from worker.tools import text
from worker.tools.base import tool
from worker.tools.github import LONGEST, NAME, association, login, on_github, shown, trusted
from worker.tools.workbench import Workbench

if TYPE_CHECKING:
    from github.Issue import Issue
    from github.Repository import Repository

FOUND = 20


class IssueRead(Model):
    repository: str = Field(pattern=NAME, description="owner/name")
    number: int = Field(ge=1)
    everyone: bool = Field(default=False, description="Comments of people without write access, too.")


class IssueComment(Model):
    repository: str = Field(pattern=NAME, description="owner/name")
    number: int = Field(ge=1, description="Of the issue or pull request.")
    body: str = Field(min_length=1, max_length=LONGEST, description="Markdown.")


class IssueSearch(Model):
    repository: str = Field(pattern=NAME, description="owner/name")
    query: str = Field(
        min_length=1, max_length=200, description="Words, and qualifiers such as is:open, is:pr, label:x."
    )


class IssueCreate(Model):
    repository: str = Field(pattern=NAME, description="owner/name")
    title: str = Field(min_length=1, max_length=250)
    body: str = Field(max_length=LONGEST, description="Markdown.")
    labels: list[str] = Field(default=[], max_length=20)


@tool(IssueRead, repeatable=True, reads=True)
async def issue_read(arguments: IssueRead, bench: Workbench) -> str:
    """Read an issue or the conversation of a pull request. For a pull request's reviews and checks use pr_read."""

    def read(repository: Repository) -> str:
        issue = repository.get_issue(arguments.number)
        comments, note = trusted(issue.get_comments(), login(issue), arguments.everyone)
        labels = ", ".join(outside.line(label.name) for label in issue.labels) or "none"
        head = f"{issue.state}, by {login(issue)} ({association(issue)}), labels: {labels}"
        parts = [f"# {outside.line(issue.title)}", head, outside.clean(issue.body) or "[no text]"]
        parts += [shown(comment, "comment", f" at={comment.created_at:%Y-%m-%dT%H:%MZ}") for comment in comments]
        return outside.wrap(f"{arguments.repository}#{issue.number}", "\n\n".join(parts) + note)

    return text.cut(await on_github(arguments.repository, bench, read), "read it on the web page")


@tool(IssueComment, repeatable=True)
async def issue_comment(arguments: IssueComment, bench: Workbench) -> str:
    """Comment on an issue or pull request. To answer a remark on a line of a pull request use pr_reply."""
    marker = f"<!-- nightshift:{bench.item_id} -->"

    def comment(repository: Repository) -> str:
        issue: Issue = repository.get_issue(arguments.number)
        for earlier in issue.get_comments():
            if marker in (earlier.body or ""):  # this very call got through before a restart
                return earlier.html_url
        return issue.create_comment(f"{bench.secrets.mask(arguments.body)}\n\n{marker}").html_url

    return "Commented: " + await on_github(arguments.repository, bench, comment)


@tool(IssueSearch, repeatable=True, reads=True)
async def issue_search(arguments: IssueSearch, bench: Workbench) -> str:
    """Search the issues and pull requests of one repository."""

    def search(repository: Repository) -> str:
        query = " ".join(word for word in arguments.query.split() if not word.startswith(("repo:", "org:", "user:")))
        found = repository.requester.requestJsonAndCheck(
            "GET", "/search/issues", parameters={"q": f"{query} repo:{repository.full_name}", "per_page": FOUND}
        )[1]
        lines = [
            f"#{it['number']} {'pull request' if 'pull_request' in it else 'issue'}, {it['state']}"
            f" ({it['author_association']}): {outside.line(it['title'])}"
            for it in found["items"]
        ]
        rest = found["total_count"] - len(lines)
        lines += [f"[{rest} more: narrow the search]"] if rest > 0 else []
        return outside.wrap(f"search in {arguments.repository}", "\n".join(lines) or "Nothing was found.")

    return await on_github(arguments.repository, bench, search)


@tool(IssueCreate, repeatable=True)
async def issue_create(arguments: IssueCreate, bench: Workbench) -> str:
    """Open an issue, if the user wants one: for what you find and should not mend on the way."""
    marker = f"<!-- nightshift:{bench.item_id} -->"

    def create(repository: Repository) -> str:
        for earlier in islice(repository.get_issues(state="all", sort="created", direction="desc"), FOUND):
            if marker in (earlier.body or ""):
                return earlier.html_url
        body = f"{bench.secrets.mask(arguments.body)}\n\n{marker}"
        return repository.create_issue(arguments.title, body, labels=arguments.labels).html_url

    return "Opened: " + await on_github(arguments.repository, bench, create)
