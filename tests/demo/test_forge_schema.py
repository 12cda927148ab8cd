"""Every answer of the forge against GitHub's own description of its API.

Not vendored: it is 73 MB. `npm pack @octokit/openapi@23`, unpack it, `pip install jsonschema`, and name the file
`package/generated/api.github.com.deref.json` in NIGHTSHIFT_GITHUB_OPENAPI.
"""

import functools
import importlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import jwt
import pytest

from demo.forge import Forge
from demo.forge.rest import ROUTES
from tests.demo.forge_tools import clone, push_change

OPENAPI = os.environ.get("NIGHTSHIFT_GITHUB_OPENAPI", "")
REPO = "/repos/acme/tidytime"

pytestmark = pytest.mark.skipif(not OPENAPI, reason="NIGHTSHIFT_GITHUB_OPENAPI does not name GitHub's OpenAPI file")


def run_a_workflow(call: Callable[..., Any], forge: Forge, sha: str) -> None:
    jobs = forge.start_workflow("acme", "tidytime", sha, ["test", "lint"])
    call("GET", f"{REPO}/actions/runs")
    forge.finish_job(jobs["lint"], "success")
    forge.finish_job(jobs["test"], "failure", "a log")
    call("GET", f"{REPO}/actions/runs?head_sha={sha}")
    call("GET", f"{REPO}/actions/jobs/{jobs['test']}/logs", 302)
    call("GET", f"{REPO}/commits/{sha}/check-runs")
    call("GET", "/search/issues?q=minutes+repo:acme/tidytime")


def test_answers_are_valid(forge: Forge, token: str, tmp_path: Path) -> None:
    checked: set[tuple[str, str]] = set()
    dana = forge.add_token("dana")
    reader = forge.add_token("reader", "ro")
    work = clone(forge, token, tmp_path / "work")
    sha = push_change(work, "feature", "tidytime/extra.py", "ONE = 1\n")
    push_change(work, "other", "other.txt", "text\n")
    with httpx.Client(base_url=forge.api_url) as client:

        def call(method: str, path: str, status: int = 200, body: object = None, who: str = token) -> Any:
            headers = {"Authorization": f"Bearer {who}"} if who else {}
            answer = client.request(method, path, json=body, headers=headers)
            assert answer.status_code == status, (method, path, answer.text)
            checked.add((method, check(method, path.partition("?")[0], answer)))
            return answer.json() if answer.content and status != 302 else None

        play(call, sha, dana)
        as_an_app(call, forge)
        run_a_workflow(call, forge, sha)
        refusals(call, reader)
    checked -= {("GET", "/repos/{}/{}/installation"), ("POST", "/app/installations/{}/access_tokens")}
    assert {(method, re.sub(r"{\w+(:\w+)?}", "{}", path)) for method, path, _ in ROUTES} - checked == set()


def play(call: Callable[..., Any], sha: str, dana: str) -> None:
    for path in ("/user", "/user/repos", "/users/acme", "/users/acme/repos", "/rate_limit", REPO):
        call("GET", path)
    call("POST", f"{REPO}/forks", 202, {})
    for path in ("/forks", "/branches", "/branches/feature", "/commits", f"/commits/{sha}", "/compare/main...feature"):
        call("GET", REPO + path)
    for path in ("/contents", "/contents/", "/contents/tidytime", "/contents/README.md?ref=feature"):
        call("GET", REPO + path)
    call("POST", f"{REPO}/git/refs", 201, {"ref": "refs/heads/copy", "sha": sha})
    for path in ("/git/ref/heads/copy", "/git/matching-refs/heads/co", "/git/refs", "/git/refs/heads/copy"):
        call("GET", REPO + path)
    call("DELETE", f"{REPO}/git/refs/heads/copy", 204)

    call("POST", f"{REPO}/statuses/{sha}", 201, {"state": "success", "context": "ci"})
    done = {"name": "tests", "head_sha": sha, "conclusion": "success", "output": {"title": "All", "summary": "Good"}}
    run = call("POST", f"{REPO}/check-runs", 201, done)
    call("PATCH", f"{REPO}/check-runs/{run['id']}", 200, {"details_url": "https://ci.invalid/1"})
    call("GET", f"{REPO}/check-runs/{run['id']}")
    for path in (f"/commits/{sha}/check-runs", f"/commits/{sha}/statuses", f"/commits/{sha}/status"):
        call("GET", REPO + path)
    call("GET", f"{REPO}/statuses/{sha}")

    call("POST", f"{REPO}/issues", 201, {"title": "Another", "labels": ["bug"]})
    call("PATCH", f"{REPO}/issues/2", 200, {"state": "closed"})
    for path in ("/issues?state=all", "/issues/1", "/issues/1/labels"):
        call("GET", REPO + path)
    call("POST", f"{REPO}/issues/1/labels", 200, {"labels": ["later"]})
    comment = call("POST", f"{REPO}/issues/1/comments", 201, {"body": "Hello"})
    call("GET", f"{REPO}/issues/1/comments")
    call("GET", f"{REPO}/issues/comments/{comment['id']}")
    call("PATCH", f"{REPO}/issues/comments/{comment['id']}", 200, {"body": "Bye"})
    call("DELETE", f"{REPO}/issues/comments/{comment['id']}", 204)

    wish = {"title": "Extra", "head": "feature", "base": "main"}
    call("POST", f"{REPO}/pulls", 201, wish)
    call("POST", f"{REPO}/pulls", 422, wish)
    call("POST", f"{REPO}/pulls", 422, {"title": "No head"})
    call("PATCH", f"{REPO}/pulls/3", 200, {"body": "Text"})
    for path in ("/pulls", "/pulls/3", "/pulls/3/files", "/pulls/3/commits", "/issues/3"):
        call("GET", REPO + path)
    review = {"event": "COMMENT", "body": "Hm", "comments": [{"path": "tidytime/extra.py", "line": 1, "body": "Why?"}]}
    call("POST", f"{REPO}/pulls/3/reviews", 200, review)
    call("GET", f"{REPO}/pulls/3/reviews")
    remark = {"path": "tidytime/extra.py", "line": 1, "body": "Why?", "commit_id": sha}
    first = call("POST", f"{REPO}/pulls/3/comments", 201, remark)
    call("POST", f"{REPO}/pulls/3/comments/{first['id']}/replies", 201, {"body": "So."})
    call("GET", f"{REPO}/pulls/3/comments")
    call("GET", f"{REPO}/pulls/comments/{first['id']}")
    call("GET", f"{REPO}/pulls/3/merge", 404)
    call("PUT", f"{REPO}/pulls/3/merge", 405, {})
    call("POST", f"{REPO}/pulls/3/requested_reviewers", 201, {"reviewers": ["dana"]})
    call("POST", f"{REPO}/pulls/3/reviews", 200, {"event": "APPROVE"}, dana)
    call("PUT", f"{REPO}/pulls/3/merge", 409, {"sha": "0" * 40})
    call("PUT", f"{REPO}/pulls/3/merge", 200, {})
    call("GET", f"{REPO}/pulls/3/merge", 204)
    call("GET", f"{REPO}/pulls/3")
    call("GET", f"{REPO}/pulls?state=all")


def as_an_app(call: Callable[..., Any], forge: Forge) -> None:
    app, key = forge.add_app()
    now = int(time.time())
    me = jwt.encode({"iss": app, "iat": now - 60, "exp": now + 500}, key, algorithm="RS256")
    call("GET", f"{REPO}/installation", 404, None, me)
    made = forge.install(app, ["acme/tidytime"])
    call("GET", f"{REPO}/installation", 200, None, me)
    # Not the list of installations: by GitHub's description each account in it is a user and an enterprise at once.
    path = f"/app/installations/{made.id}/access_tokens"
    token = call("POST", path, 201, {"repositories": ["tidytime"], "permissions": {"contents": "write"}}, me)["token"]
    call("GET", "/installation/repositories", 200, None, token)
    call("GET", "/installation/repositories", 403)
    call("POST", path, 422, {"permissions": {"administration": "write"}}, me)
    call("POST", path, 401, {}, "not an assertion")
    call("POST", "/app/installations/1/access_tokens", 404, {}, me)
    made.suspended = True
    call("GET", f"{REPO}/installation", 200, None, me)
    call("POST", path, 403, {}, me)


def refusals(call: Callable[..., Any], reader: str) -> None:
    call("GET", "/user", 401, None, "")
    call("GET", "/repos/acme/absent", 404)
    call("GET", f"{REPO}/branches/absent", 404)
    call("GET", f"{REPO}/commits/absent", 422)
    call("GET", f"{REPO}/contents/absent", 404)
    call("POST", f"{REPO}/issues", 422, {})
    call("POST", f"{REPO}/pulls", 403, {}, reader)
    call("DELETE", f"{REPO}/git/refs/heads/absent", 422)


def check(method: str, path: str, answer: httpx.Response) -> str:
    """Validates, and returns the path's template with {} for each parameter."""
    template, operation = find(method, path)
    if operation is None:
        return template
    described = operation["responses"][str(answer.status_code)]
    if "content" not in described:
        assert not answer.content or answer.status_code >= 400, (method, path)
        return template
    media: dict[str, Any] = described["content"]
    schema = strict((media.get("application/json") or next(iter(media.values())))["schema"])
    if answer.status_code >= 400:
        schema.pop("additionalProperties", None)  # GitHub's refusals all have a `status`, described or not
    validator: Any = importlib.import_module("jsonschema").Draft4Validator(schema)
    problems = list(validator.iter_errors(answer.json()))
    assert not problems, f"{method} {path} {answer.status_code}: " + "\n".join(explain(one) for one in problems)
    return template


# GitHub serves these without describing them: the plural form is redirected from older clients.
UNDESCRIBED = {"/repos/{}/{}/git/refs", "/repos/{}/{}/git/refs/{}", "/repos/{}/{}/statuses/{}", "/repos/{}/{}/contents"}


SLASHED = ("{ref}", "{path}", "{branch}", "{basehead}")  # parameters that may hold slashes


def find(method: str, path: str) -> tuple[str, dict[str, Any] | None]:
    """The longest described path that fits."""
    fitting: list[tuple[int, str]] = []
    for template, operations in document()["paths"].items():
        plain = re.sub(r"{\w+}", "{}", template)
        pattern = re.escape(plain).replace(r"\{\}", "[^/]+")
        loose = re.sub(r"\[\^/\]\+$", ".*", pattern) if template.endswith(SLASHED) else pattern
        if method.lower() in operations and re.fullmatch(loose, path):
            fitting.append((len(plain.replace("{}", "")), template))
    if fitting:
        template = max(fitting)[1]
        return re.sub(r"{\w+}(\.\.\.{\w+})?", "{}", template), document()["paths"][template][method.lower()]
    for plain in UNDESCRIBED:
        if re.fullmatch(re.escape(plain).replace(r"\{\}", "[^/]+").replace("refs/[^/]+", "refs/.+"), path):
            return plain, None
    raise AssertionError(f"GitHub describes no {method} {path}")


@functools.cache
def document() -> dict[str, Any]:
    return json.loads(Path(OPENAPI).read_text())


def strict(schema: Any) -> Any:
    """JSON schema from OpenAPI 3.0: `nullable` put as a type, and no field allowed that is not described."""
    if isinstance(schema, list):
        return [strict(it) for it in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast(dict[str, Any], schema)
    kept = {key: strict(value) for key, value in fields.items() if key not in ("example", "examples", "nullable")}
    for part in kept.get("allOf", ()):
        if part.get("additionalProperties") is False:  # each part describes some of the fields
            del part["additionalProperties"]
    if kept.get("properties") and "allOf" not in kept:
        kept.setdefault("additionalProperties", False)
    return {"anyOf": [kept, {"type": "null"}]} if fields.get("nullable") is True else kept


def explain(problem: Any) -> str:
    return "\n".join(f"  {'/'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in leaves(problem))


def leaves(problem: Any) -> Iterator[Any]:
    if not problem.context:
        yield problem
    for one in problem.context or ():
        yield from leaves(one)
