"""People and repositories."""

import zlib

from demo.forge.records import Records, Repository, Token
from demo.forge.shapes.links import Json, Links, node_id, stamp

PLAIN_URLS = (
    *("contributors", "deployments", "downloads", "events", "forks", "hooks", "languages", "merges"),
    *("stargazers", "subscribers", "subscription", "tags", "teams"),
)
TEMPLATE_URLS = {
    "archive": "/{archive_format}{/ref}",
    "assignees": "/assignees{/user}",
    "blobs": "/git/blobs{/sha}",
    "branches": "/branches{/branch}",
    "collaborators": "/collaborators{/collaborator}",
    "comments": "/comments{/number}",
    "commits": "/commits{/sha}",
    "compare": "/compare/{base}...{head}",
    "contents": "/contents/{+path}",
    "git_commits": "/git/commits{/sha}",
    "git_refs": "/git/refs{/sha}",
    "git_tags": "/git/tags{/sha}",
    "issue_comment": "/issues/comments{/number}",
    "issue_events": "/issues/events{/number}",
    "issues": "/issues{/number}",
    "keys": "/keys{/key_id}",
    "labels": "/labels{/name}",
    "milestones": "/milestones{/number}",
    "notifications": "/notifications{?since,all,participating}",
    "pulls": "/pulls{/number}",
    "releases": "/releases{/id}",
    "statuses": "/statuses/{sha}",
    "trees": "/git/trees{/sha}",
}


def user(links: Links, login: str) -> Json:
    api = f"{links.api}/users/{login}"
    return {
        "login": login,
        "id": zlib.crc32(login.encode()),
        "node_id": node_id("User", login),
        "avatar_url": f"{links.html}/avatars/{login}",
        "gravatar_id": "",
        "url": api,
        "html_url": f"{links.html}/{login}",
        "followers_url": f"{api}/followers",
        "following_url": f"{api}/following{{/other_user}}",
        "gists_url": f"{api}/gists{{/gist_id}}",
        "starred_url": f"{api}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{api}/subscriptions",
        "organizations_url": f"{api}/orgs",
        "repos_url": f"{api}/repos",
        "events_url": f"{api}/events{{/privacy}}",
        "received_events_url": f"{api}/received_events",
        "type": "User",
        "site_admin": False,
    }


def profile(links: Links, login: str, records: Records) -> Json:
    """A user as `/user` and `/users/{login}` show one."""
    own = [repository for repository in records.repositories.values() if repository.owner == login]
    joined = min((repository.created_at for repository in own), default=None)
    nothing = dict.fromkeys(["company", "blog", "location", "email", "hireable", "bio"])
    moment = stamp(joined) if joined else "2026-01-01T00:00:00Z"
    return (
        user(links, login)
        | nothing
        | {"name": login, "public_repos": len(own), "public_gists": 0, "followers": 0, "following": 0}
        | {"created_at": moment, "updated_at": moment}
    )


def repository(links: Links, it: Repository, records: Records, viewer: Token, *, brief: bool = False) -> Json:
    """`brief` is the form that lists and pull requests carry."""
    api, page = links.repo(it.full_name), links.page(it.full_name)
    host = links.html.partition("://")[2]
    issues = sum(issue.repository == it.full_name and issue.state == "open" for issue in records.issues)
    forks = sum(other.fork_of == it.full_name for other in records.repositories.values())
    writes = it.pushable(viewer)
    shape: Json = {
        "id": it.id,
        "node_id": node_id("Repository", it.id),
        "name": it.name,
        "full_name": it.full_name,
        "owner": user(links, it.owner),
        "private": True,
        "visibility": "private",
        "html_url": page,
        "description": it.description,
        "fork": it.fork_of is not None,
        "url": api,
        **{f"{name}_url": f"{api}/{name}" for name in PLAIN_URLS},
        **{f"{name}_url": api + rest for name, rest in TEMPLATE_URLS.items()},
        "archive_url": f"{api}/{{archive_format}}{{/ref}}",
        "clone_url": f"{page}.git",
        "git_url": f"git://{host}/{it.full_name}.git",
        "ssh_url": f"ssh://git@{host}/{it.full_name}.git",
        "svn_url": page,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        "default_branch": it.default_branch,
        "forks_count": forks,
        "forks": forks,
        "stargazers_count": 0,
        "watchers_count": 0,
        "watchers": 0,
        "open_issues_count": issues,
        "open_issues": issues,
        "size": it.size,
        "topics": [],
        "has_issues": True,
        "has_projects": False,
        "has_wiki": False,
        "has_pages": False,
        "has_downloads": False,
        "has_discussions": False,
        "archived": False,
        "disabled": False,
        "allow_forking": True,
        "is_template": False,
        "web_commit_signoff_required": False,
        "pushed_at": stamp(it.pushed_at),
        "created_at": stamp(it.created_at),
        "updated_at": stamp(it.pushed_at),
        "permissions": {"admin": False, "maintain": False, "push": writes, "triage": writes, "pull": True},
    }
    if brief:
        return shape
    shape |= {"subscribers_count": 0, "network_count": forks}
    if it.fork_of and it.fork_of in records.repositories:
        parent = repository(links, records.repositories[it.fork_of], records, viewer, brief=True)
        shape |= {"parent": parent, "source": parent}
    return shape
