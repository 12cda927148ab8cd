"""Issues and labels."""

import zlib

from demo.forge.records import Issue
from demo.forge.shapes.links import Json, Links, maybe_stamp, node_id, stamp
from demo.forge.shapes.repositories import user


def label(links: Links, repository_name: str, name: str) -> Json:
    return {
        "id": zlib.crc32(name.encode()),
        "node_id": node_id("Label", name),
        "url": f"{links.repo(repository_name)}/labels/{name}",
        "name": name,
        "description": None,
        "color": "ededed",
        "default": False,
    }


def issue(links: Links, it: Issue, comments: int) -> Json:
    """A pull request is an issue too, with a `pull_request` that says where to read it as one."""
    url = f"{links.repo(it.repository)}/issues/{it.number}"
    kind = "pull" if it.pull else "issues"
    page = f"{links.page(it.repository)}/{kind}/{it.number}"
    shape: Json = {
        "id": it.id,
        "node_id": node_id("Issue", it.id),
        "url": url,
        "repository_url": links.repo(it.repository),
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": page,
        "number": it.number,
        "state": it.state,
        "state_reason": it.state_reason,
        "title": it.title,
        "body": it.body,
        "user": user(links, it.author),
        "labels": [label(links, it.repository, name) for name in it.labels],
        "assignee": None,
        "assignees": [],
        "milestone": None,
        "locked": False,
        "comments": comments,
        "closed_at": maybe_stamp(it.closed_at),
        "created_at": stamp(it.created_at),
        "updated_at": stamp(it.updated_at),
        "author_association": it.association,
    }
    if it.pull:
        pull = f"{links.repo(it.repository)}/pulls/{it.number}"
        shape["pull_request"] = {
            "url": pull,
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "merged_at": maybe_stamp(it.pull.merged_at),
        }
        shape["draft"] = it.pull.draft
    return shape
