"""Comments, reviews, check runs and statuses."""

from collections.abc import Sequence

from demo.forge.records import CheckRun, Comment, Review, ReviewComment, Status, WorkflowRun
from demo.forge.shapes.links import Json, Links, maybe_stamp, node_id, stamp
from demo.forge.shapes.repositories import user


def comment(links: Links, it: Comment) -> Json:
    repo = links.repo(it.repository)
    return {
        "id": it.id,
        "node_id": node_id("IssueComment", it.id),
        "url": f"{repo}/issues/comments/{it.id}",
        "html_url": f"{links.page(it.repository)}/issues/{it.number}#issuecomment-{it.id}",
        "issue_url": f"{repo}/issues/{it.number}",
        "body": it.body,
        "user": user(links, it.author),
        "created_at": stamp(it.created_at),
        "updated_at": stamp(it.updated_at),
        "author_association": it.association,
    }


def review(links: Links, it: Review) -> Json:
    pull = f"{links.repo(it.repository)}/pulls/{it.number}"
    page = f"{links.page(it.repository)}/pull/{it.number}#pullrequestreview-{it.id}"
    return {
        "id": it.id,
        "node_id": node_id("PullRequestReview", it.id),
        "user": user(links, it.author),
        "body": it.body,
        "state": it.state,
        "html_url": page,
        "pull_request_url": pull,
        "_links": {"html": {"href": page}, "pull_request": {"href": pull}},
        "submitted_at": stamp(it.created_at),
        "commit_id": it.commit_sha,
        "author_association": it.association,
    }


def review_comment(links: Links, it: ReviewComment) -> Json:
    pull = f"{links.repo(it.repository)}/pulls/{it.number}"
    url = f"{links.repo(it.repository)}/pulls/comments/{it.id}"
    page = f"{links.page(it.repository)}/pull/{it.number}#discussion_r{it.id}"
    shape: Json = {
        "url": url,
        "pull_request_review_id": it.review_id,
        "id": it.id,
        "node_id": node_id("PullRequestReviewComment", it.id),
        "diff_hunk": it.diff_hunk,
        "path": it.path,
        "commit_id": it.commit_sha,
        "original_commit_id": it.commit_sha,
        "user": user(links, it.author),
        "body": it.body,
        "created_at": stamp(it.created_at),
        "updated_at": stamp(it.updated_at),
        "html_url": page,
        "pull_request_url": pull,
        "author_association": it.association,
        "_links": {"self": {"href": url}, "html": {"href": page}, "pull_request": {"href": pull}},
        "side": "RIGHT",
        "subject_type": "line" if it.line else "file",
    }
    if it.line:
        shape |= {"line": it.line, "original_line": it.line}
    if it.in_reply_to:
        shape["in_reply_to_id"] = it.in_reply_to
    return shape


def check_run(links: Links, it: CheckRun) -> Json:
    url = f"{links.repo(it.repository)}/check-runs/{it.id}"
    page = f"{links.page(it.repository)}/runs/{it.id}"
    return {
        "id": it.id,
        "head_sha": it.head_sha,
        "node_id": node_id("CheckRun", it.id),
        "external_id": it.external_id,
        "url": url,
        "html_url": page,
        "details_url": it.details_url or page,
        "status": it.status,
        "conclusion": it.conclusion,
        "started_at": maybe_stamp(it.started_at),
        "completed_at": maybe_stamp(it.completed_at),
        "output": {
            "title": it.title,
            "summary": it.summary,
            "text": it.text,
            "annotations_count": 0,
            "annotations_url": f"{url}/annotations",
        },
        "name": it.name,
        "check_suite": {"id": it.id},
        "app": None,
        "pull_requests": [],
    }


def workflow_run(links: Links, home: Json, it: WorkflowRun) -> Json:
    url = f"{links.repo(it.repository)}/actions/runs/{it.id}"
    path = f".github/workflows/{it.name.lower()}.yml"
    return {
        "id": it.id,
        "name": it.name,
        "node_id": node_id("WorkflowRun", it.id),
        "head_branch": None,
        "head_sha": it.head_sha,
        "path": path,
        "display_title": it.name,
        "run_number": it.number,
        "run_attempt": 1,
        "event": "push",
        "status": it.status,
        "conclusion": it.conclusion,
        "workflow_id": 1,
        "url": url,
        "html_url": f"{links.page(it.repository)}/actions/runs/{it.id}",
        "pull_requests": [],
        "created_at": stamp(it.created_at),
        "updated_at": stamp(it.updated_at),
        "jobs_url": f"{url}/jobs",
        "logs_url": f"{url}/logs",
        "check_suite_url": f"{links.repo(it.repository)}/check-suites/{it.id}",
        "artifacts_url": f"{url}/artifacts",
        "cancel_url": f"{url}/cancel",
        "rerun_url": f"{url}/rerun",
        "workflow_url": f"{links.repo(it.repository)}/actions/workflows/1",
        "head_commit": None,
        "repository": home,
        "head_repository": home,
    }


def status(links: Links, it: Status) -> Json:
    return {
        "url": f"{links.repo(it.repository)}/statuses/{it.sha}",
        "avatar_url": f"{links.html}/avatars/{it.creator}",
        "id": it.id,
        "node_id": node_id("Status", it.id),
        "state": it.state,
        "description": it.description,
        "target_url": it.target_url,
        "context": it.context,
        "created_at": stamp(it.created_at),
        "updated_at": stamp(it.created_at),
    }


def full_status(links: Links, it: Status) -> Json:
    return status(links, it) | {"creator": user(links, it.creator)}


def combined_status(links: Links, repository: Json, sha: str, statuses: Sequence[Status]) -> Json:
    """`statuses` newest first; of each context the newest counts."""
    latest = {it.context: it for it in reversed(statuses)}
    states = {it.state for it in latest.values()}
    failed = states & {"error", "failure"}
    state = "failure" if failed else "success" if states == {"success"} else "pending"
    return {
        "state": state,
        "statuses": [status(links, it) for it in latest.values()],
        "sha": sha,
        "total_count": len(latest),
        "repository": repository,
        "commit_url": f"{repository['url']}/commits/{sha}",
        "url": f"{repository['url']}/commits/{sha}/status",
    }
