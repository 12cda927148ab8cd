"""What /openapi.json adds to what FastAPI finds by itself: examples of bodies, and which errors a call may answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import MEDIA_TYPE

EXAMPLES: dict[str, Any] = {
    "create_session": {"message": "Fix issue #12 and open a pull request", "repository": "owner/name"},
    "send_message": {"text": "Also add a test for it", "effort": "high"},
    "set_budget": {"budget_usd": 5},
    "make_key": {"scopes": ["write"], "days": 30},
    "put_preferences": {"effort": "high", "prompt": "Write tests first."},
    "put_place": {"seq": 7},
    "put_device": {
        "subscription": {
            "endpoint": "https://updates.push.services.mozilla.com/wpush/v2/...",
            "keys": {"p256dh": "BNc...", "auth": "k8J..."},
        },
        "moments": ["needs"],
    },
    "make_agent": {"name": "Reviewer", "prompt": "You review and change nothing."},
    "change_agent": {"name": "Reviewer", "prompt": "You review and change nothing.", "revision": 1},
    "append_worker_items": {"items": [{"id": "1.1.1", "kind": "assistant_message", "text": "I look at the issue."}]},
    "report_turn": {"kind": "progress", "generation": 1},
    "show_draft": {"turn": 1, "id": "1.1.1", "kind": "text", "text": "I look at"},
    "reserve_model_call": {"id": "1.1", "model": "gpt-5.2", "input_tokens": 9000, "max_output_tokens": 4000},
    "get_github_token": {"repository": "owner/name"},
}
"""By operation. The tests send them."""
_OWN_ERRORS = {
    "create_session": [404],  # an agent that is not there
    "reserve_model_call": [402],
    "list_sessions": [400],  # a cursor of somewhere else
    "list_audit_entries": [400],
    "change_agent": [412],
}
_PROBLEM = {
    "type": "urn:nightshift:no-session",
    "title": "Not found",
    "status": 404,
    "detail": "There is no session 's-0'",
}


def describe(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, tags=app.openapi_tags, routes=app.routes)
        schema["components"]["schemas"]["Problem"]["example"] = _PROBLEM
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                _complete(path, method, operation)
        app.openapi_schema = schema
    return app.openapi_schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    problem = responses["default"]
    problem["content"] = {MEDIA_TYPE: problem["content"]["application/json"]}  # what FastAPI takes every model for
    for status in _errors(path, method, operation):
        responses.setdefault(str(status), problem | {"description": HTTPStatus(status).phrase})
    if example := EXAMPLES.get(operation["operationId"]):
        operation["requestBody"]["content"]["application/json"]["example"] = example


def _errors(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    found = [500]
    if "security" in operation:
        is_worker = path.startswith("/api/worker/")
        found += [401, 403, 503, *([404, 409] if is_worker else [429])]
    if "{" in path:
        found.append(404)
    if "parameters" in operation or "requestBody" in operation:
        found.append(422)
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        found += [400, 415]  # no text, another type
    if method != "get":
        found += [409, 413]  # an Idempotency-Key of something else, a session that is being deleted
    return sorted({*found, *_OWN_ERRORS.get(operation["operationId"], [])})
