"""Pull requests."""

from dataclasses import dataclass

from demo.forge.git import Heads
from demo.forge.records import Issue, Records, Token
from demo.forge.shapes.issues import label
from demo.forge.shapes.links import Json, Links, maybe_stamp, node_id, stamp
from demo.forge.shapes.repositories import repository, user


@dataclass(frozen=True)
class Measure:
    """What only the answer for one pull request carries."""

    mergeable: bool
    commits: int
    additions: int
    deletions: int
    changed_files: int


def pull(links: Links, it: Issue, heads: Heads, records: Records, viewer: Token) -> Json:
    assert it.pull is not None
    repo, page = links.repo(it.repository), f"{links.page(it.repository)}/pull/{it.number}"
    url, issue_url = f"{repo}/pulls/{it.number}", f"{repo}/issues/{it.number}"
    urls = {
        "comments": f"{issue_url}/comments",
        "commits": f"{url}/commits",
        "statuses": f"{repo}/statuses/{heads.head}",
        "issue": issue_url,
        "review_comments": f"{url}/comments",
        "review_comment": f"{repo}/pulls/comments{{/number}}",
    }

    def side(full_name: str, ref: str, sha: str) -> Json:
        owner = full_name.partition("/")[0]
        return {
            "label": f"{owner}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": user(links, owner),
            "repo": repository(links, records.repositories[full_name], records, viewer, brief=True),
        }

    return {
        "url": url,
        "id": it.id,
        "node_id": node_id("PullRequest", it.id),
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        **{f"{name}_url": address for name, address in urls.items()},
        "number": it.number,
        "state": it.state,
        "locked": False,
        "title": it.title,
        "user": user(links, it.author),
        "body": it.body,
        "labels": [label(links, it.repository, name) for name in it.labels],
        "milestone": None,
        "created_at": stamp(it.created_at),
        "updated_at": stamp(it.updated_at),
        "closed_at": maybe_stamp(it.closed_at),
        "merged_at": maybe_stamp(it.pull.merged_at),
        "merge_commit_sha": it.pull.merge_commit_sha,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [user(links, login) for login in it.pull.reviewers],
        "requested_teams": [],
        "head": side(it.pull.head_repository, it.pull.head_ref, heads.head),
        "base": side(it.repository, it.pull.base_ref, heads.base),
        "_links": {name: {"href": address} for name, address in urls.items()}
        | {"self": {"href": url}, "html": {"href": page}},
        "author_association": it.association,
        "auto_merge": None,
        "draft": it.pull.draft,
    }


def measured(links: Links, it: Issue, measure: Measure, records: Records) -> Json:
    """The fields to add to `pull` when one is asked for by its number."""
    assert it.pull is not None
    at = (it.repository, it.number)
    return {
        "merged": it.pull.merged_at is not None,
        "mergeable": measure.mergeable if it.state == "open" else None,
        "rebaseable": None,
        "mergeable_state": "clean" if measure.mergeable else "dirty",
        "merged_by": user(links, it.pull.merged_by) if it.pull.merged_by else None,
        "comments": sum((c.repository, c.number) == at for c in records.comments),
        "review_comments": sum((c.repository, c.number) == at for c in records.review_comments),
        "maintainer_can_modify": False,
        "commits": measure.commits,
        "additions": measure.additions,
        "deletions": measure.deletions,
        "changed_files": measure.changed_files,
    }
