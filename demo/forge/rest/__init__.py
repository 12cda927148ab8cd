"""The REST API's paths. Each handler takes a `Call` and gives a response; `Call` has checked the token by then."""

import hashlib

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from demo.forge.errors import ApiError, on_api_error, on_bug, on_http_error
from demo.forge.rest import accounts, actions, apps, checks, code, comments, issues, pulls, reviews, search
from demo.forge.rest.call import Call, Handler
from demo.forge.shapes.links import Links
from demo.forge.state import State

REPO = "/repos/{owner}/{repo}"
PULL = f"{REPO}/pulls/{{number:int}}"
ISSUE = f"{REPO}/issues/{{number:int}}"

ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/user", accounts.me),
    ("GET", "/user/repos", accounts.my_repositories),
    ("GET", "/installation/repositories", accounts.installed_repositories),
    ("GET", "/users/{login}", accounts.one),
    ("GET", "/users/{login}/repos", accounts.repositories),
    ("GET", "/rate_limit", accounts.rate_limit),
    ("GET", REPO, accounts.repository),
    ("GET", f"{REPO}/forks", accounts.forks),
    ("POST", f"{REPO}/forks", accounts.fork),
    ("GET", f"{REPO}/branches", code.branches),
    ("GET", f"{REPO}/branches/{{branch:path}}", code.branch),
    ("GET", f"{REPO}/git/ref/{{ref:path}}", code.ref),
    ("GET", f"{REPO}/git/refs", code.refs),
    ("GET", f"{REPO}/git/refs/{{ref:path}}", code.ref),
    ("POST", f"{REPO}/git/refs", code.create_ref),
    ("DELETE", f"{REPO}/git/refs/{{ref:path}}", code.delete_ref),
    ("GET", f"{REPO}/git/matching-refs/{{ref:path}}", code.refs),
    ("GET", f"{REPO}/contents", code.contents),
    ("GET", f"{REPO}/contents/{{path:path}}", code.contents),
    ("GET", f"{REPO}/compare/{{basehead:path}}", code.compare),
    ("GET", f"{REPO}/commits", code.commits),
    ("GET", f"{REPO}/commits/{{ref:path}}/check-runs", checks.of_commit),
    ("GET", f"{REPO}/commits/{{ref:path}}/statuses", checks.statuses),
    ("GET", f"{REPO}/commits/{{ref:path}}/status", checks.combined_status),
    ("GET", f"{REPO}/commits/{{ref:path}}", code.commit),
    ("GET", f"{REPO}/statuses/{{ref:path}}", checks.statuses),
    ("POST", f"{REPO}/statuses/{{ref}}", checks.create_status),
    ("POST", f"{REPO}/check-runs", checks.create),
    ("GET", f"{REPO}/check-runs/{{id:int}}", checks.one),
    ("PATCH", f"{REPO}/check-runs/{{id:int}}", checks.update),
    ("GET", f"{REPO}/actions/runs", actions.runs),
    ("GET", f"{REPO}/actions/jobs/{{id:int}}/logs", actions.job_log),
    ("GET", "/search/issues", search.issues),
    ("GET", f"{REPO}/issues", issues.listing),
    ("POST", f"{REPO}/issues", issues.create),
    ("GET", f"{REPO}/issues/comments/{{id:int}}", comments.one),
    ("PATCH", f"{REPO}/issues/comments/{{id:int}}", comments.update),
    ("DELETE", f"{REPO}/issues/comments/{{id:int}}", comments.delete),
    ("GET", ISSUE, issues.one),
    ("PATCH", ISSUE, issues.update),
    ("GET", f"{ISSUE}/labels", issues.labels),
    ("POST", f"{ISSUE}/labels", issues.add_labels),
    ("GET", f"{ISSUE}/comments", comments.listing),
    ("POST", f"{ISSUE}/comments", comments.create),
    ("GET", f"{REPO}/pulls", pulls.listing),
    ("POST", f"{REPO}/pulls", pulls.create),
    ("GET", f"{REPO}/pulls/comments/{{id:int}}", reviews.comment),
    ("GET", PULL, pulls.one),
    ("PATCH", PULL, pulls.update),
    ("GET", f"{PULL}/files", pulls.files),
    ("GET", f"{PULL}/commits", pulls.commits),
    ("GET", f"{PULL}/merge", pulls.is_merged),
    ("PUT", f"{PULL}/merge", pulls.merge),
    ("POST", f"{PULL}/requested_reviewers", pulls.request_reviews),
    ("GET", f"{PULL}/reviews", reviews.listing),
    ("POST", f"{PULL}/reviews", reviews.create),
    ("GET", f"{PULL}/comments", reviews.comments),
    ("POST", f"{PULL}/comments", reviews.create_comment),
    ("POST", f"{PULL}/comments/{{id:int}}/replies", reviews.reply),
]


def _unless_known(request: Request, answer: Response) -> Response:
    """304 for a GET that already has this very answer."""
    if request.method != "GET" or answer.status_code != 200:
        return answer
    tag = f'W/"{hashlib.sha256(answer.body).hexdigest()}"'
    known = request.headers.get("if-none-match") == tag
    answer = Response(status_code=304) if known else answer
    answer.headers["etag"] = tag
    return answer


def rest_app(state: State, links: Links) -> Starlette:
    def route(method: str, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return _unless_known(request, await handler(Call.admit(request, state, links)))

        return Route(f"/api/v3{path}", endpoint, methods=[method])

    async def log(request: Request) -> Response:
        """Where a job's logs are redirected to: outside the API, and open to who has the address."""
        return PlainTextResponse(actions.log_of(state, request.path_params["key"]))

    return Starlette(
        routes=[
            *apps.routes(state, links),
            *(route(*row) for row in ROUTES),
            Route("/logs/{key}", log),
        ],
        exception_handlers={ApiError: on_api_error, HTTPException: on_http_error, Exception: on_bug},
    )
