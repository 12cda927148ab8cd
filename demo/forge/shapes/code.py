"""Commits, refs, branches, files and comparisons."""

import base64
import posixpath
from urllib.parse import quote

from demo.forge.git import Change, Commit, Entry, Person, Ref
from demo.forge.shapes.links import Json, Links, node_id

NO_PROTECTION: Json = {
    "enabled": False,
    "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []},
}


def commit(links: Links, repo: str, it: Commit) -> Json:
    """`author` and `committer` are null: the forge knows no account by its e-mail address."""
    url = f"{links.repo(repo)}/commits/{it.sha}"
    return {
        "url": url,
        "sha": it.sha,
        "node_id": node_id("Commit", it.sha),
        "html_url": f"{links.page(repo)}/commit/{it.sha}",
        "comments_url": f"{url}/comments",
        "commit": {
            "url": f"{links.repo(repo)}/git/commits/{it.sha}",
            "author": _person(it.author),
            "committer": _person(it.committer),
            "message": it.message,
            "comment_count": 0,
            "tree": {"sha": it.tree, "url": f"{links.repo(repo)}/git/trees/{it.tree}"},
        },
        "author": None,
        "committer": None,
        "parents": [
            {
                "sha": sha,
                "url": f"{links.repo(repo)}/commits/{sha}",
                "html_url": f"{links.page(repo)}/commit/{sha}",
            }
            for sha in it.parents
        ],
    }


def full_commit(links: Links, repo: str, it: Commit, changes: list[Change]) -> Json:
    additions, deletions = sum(c.additions for c in changes), sum(c.deletions for c in changes)
    return commit(links, repo, it) | {
        "stats": {"additions": additions, "deletions": deletions, "total": additions + deletions},
        "files": [change(links, repo, it.sha, one) for one in changes],
    }


def _person(it: Person) -> Json:
    return {"name": it.name, "email": it.email, "date": it.date}


def change(links: Links, repo: str, sha: str, it: Change) -> Json:
    path = quote(it.path)
    shape: Json = {
        "sha": it.blob,
        "filename": it.path,
        "status": it.status,
        "additions": it.additions,
        "deletions": it.deletions,
        "changes": it.additions + it.deletions,
        "blob_url": f"{links.page(repo)}/blob/{sha}/{path}",
        "raw_url": f"{links.page(repo)}/raw/{sha}/{path}",
        "contents_url": f"{links.repo(repo)}/contents/{path}?ref={sha}",
    }
    if it.patch is not None:
        shape["patch"] = it.patch
    if it.previous_path is not None:
        shape["previous_filename"] = it.previous_path
    return shape


def ref(links: Links, repo: str, it: Ref) -> Json:
    return {
        "ref": it.name,
        "node_id": node_id("Ref", it.name),
        "url": f"{links.repo(repo)}/git/{quote(it.name)}",
        "object": {"type": it.kind, "sha": it.sha, "url": f"{links.repo(repo)}/git/{it.kind}s/{it.sha}"},
    }


def brief_branch(links: Links, repo: str, it: Ref) -> Json:
    name = it.name.removeprefix("refs/heads/")
    return {
        "name": name,
        "commit": {"sha": it.sha, "url": f"{links.repo(repo)}/commits/{it.sha}"},
        "protected": False,
        "protection": NO_PROTECTION,
        "protection_url": f"{links.repo(repo)}/branches/{quote(name)}/protection",
    }


def branch(links: Links, repo: str, name: str, tip: Commit) -> Json:
    url = f"{links.repo(repo)}/branches/{quote(name)}"
    return {
        "name": name,
        "commit": commit(links, repo, tip),
        "_links": {"html": f"{links.page(repo)}/tree/{quote(name)}", "self": url},
        "protected": False,
        "protection": NO_PROTECTION,
        "protection_url": f"{url}/protection",
    }


def content(links: Links, repo: str, revision: str, it: Entry, data: bytes | None = None) -> Json:
    """A file with its `data`, or any entry of a folder without."""
    kind = {"blob": "file", "tree": "dir", "commit": "submodule"}[it.kind]
    where = "tree" if kind == "dir" else "blob"
    path = quote(it.path)
    git_url = f"{links.repo(repo)}/git/{where}s/{it.sha}"
    html_url = f"{links.page(repo)}/{where}/{quote(revision)}/{path}"
    url = f"{links.repo(repo)}/contents/{path}?ref={quote(revision)}"
    shape: Json = {
        "type": kind,
        "size": it.size,
        "name": posixpath.basename(it.path),
        "path": it.path,
        "sha": it.sha,
        "url": url,
        "git_url": git_url,
        "html_url": html_url,
        "download_url": f"{links.page(repo)}/raw/{quote(revision)}/{path}" if kind == "file" else None,
        "_links": {"git": git_url, "html": html_url, "self": url},
    }
    if data is not None:
        shape |= {"encoding": "base64", "content": base64.encodebytes(data).decode()}
    return shape


def comparison(
    links: Links, repo: str, basehead: str, base: Commit, fork_point: Commit, ahead_by: int, behind_by: int
) -> Json:
    """Without `commits` and `files`, which the caller adds."""
    page = f"{links.page(repo)}/compare/{quote(basehead)}"
    status = {(True, True): "diverged", (True, False): "ahead", (False, True): "behind", (False, False): "identical"}
    return {
        "url": f"{links.repo(repo)}/compare/{quote(basehead)}",
        "html_url": page,
        "permalink_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "base_commit": commit(links, repo, base),
        "merge_base_commit": commit(links, repo, fork_point),
        "status": status[bool(ahead_by), bool(behind_by)],
        "ahead_by": ahead_by,
        "behind_by": behind_by,
        "total_commits": ahead_by,
    }
