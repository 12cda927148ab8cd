"""The API's own description is complete and true."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.api.house import House

PATHS = {
    "/api/health": {"get"},
    "/api/ready": {"get"},
    "/api/sessions": {"get", "post"},
    "/api/sessions/{session_id}": {"get", "delete"},
    "/api/sessions/{session_id}/items": {"get"},
    "/api/sessions/{session_id}/messages": {"post"},
    "/api/sessions/{session_id}/interrupt": {"post"},
    "/api/sessions/{session_id}/stop": {"post"},
    "/api/sessions/{session_id}/resume": {"post"},
    "/api/sessions/{session_id}/budget": {"post"},
    "/api/sessions/{session_id}/live": {"get"},
    "/api/sessions/{session_id}/read": {"put"},
    "/api/agents": {"get", "post"},
    "/api/agents/{agent_id}": {"get", "put", "delete"},
    "/api/preferences": {"get", "put"},
    "/api/sessions/{session_id}/files": {"put"},
    "/api/sessions/{session_id}/files/{name}": {"get"},
    "/api/audit": {"get"},
    "/api/devices": {"get", "put"},
    "/api/devices/{id}": {"delete"},
    "/api/devices/{id}/test": {"post"},
    "/api/keys": {"get", "post"},
    "/api/keys/{key_id}": {"delete"},
    "/api/worker/session": {"get"},
    "/api/worker/items": {"get", "post"},
    "/api/worker/drafts": {"post"},
    "/api/worker/reports": {"post"},
    "/api/worker/reservations": {"post"},
    "/api/worker/files/{name}": {"get", "put"},
    "/api/worker/github-token": {"post"},
}


async def schema(house: House) -> dict[str, Any]:
    return (await house.http.get("/openapi.json")).json()


async def test_every_route_is_described_and_nothing_else(house: House):
    paths = (await schema(house))["paths"]
    assert {path: set(operations) for path, operations in paths.items()} == PATHS


async def test_every_operation_has_a_name_words_a_tag_and_its_problems(house: House):
    described = await schema(house)
    tags = {tag["name"] for tag in described["tags"]}
    names: list[str] = []
    for path in described["paths"].values():
        for operation in path.values():
            names.append(operation["operationId"])
            assert operation["summary"]
            assert set(operation["tags"]) <= tags
            problem = operation["responses"]["default"]["content"]
            assert problem == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert len(names) == len(set(names))


async def test_every_operation_says_which_credential_opens_it(house: House):
    described = await schema(house)
    assert set(described["components"]["securitySchemes"]) == {"ApiKey", "ApiKeyHeader", "WorkerToken"}
    for path, operations in described["paths"].items():
        for operation in operations.values():
            schemes = {name for each in operation.get("security", []) for name in each}
            if path.startswith("/api/worker"):
                assert schemes == {"WorkerToken"}
            elif path in ("/api/health", "/api/ready"):
                assert schemes == set()
            else:
                assert schemes == {"ApiKey", "ApiKeyHeader"}


async def test_every_body_has_an_example_and_every_call_the_errors_that_may_come(house: House):
    """That the examples are right shows test_api_routes; that no other error comes, each answer in these tests."""
    for path, operations in (await schema(house))["paths"].items():
        for operation in operations.values():
            body = operation.get("requestBody", {"content": {}})["content"].get("application/json", {"example": {}})
            assert "example" in body, f"api/described.py has no example for {operation['operationId']}"
            if path not in ("/api/health", "/api/ready"):
                assert {"401", "403", "500", "503"} <= operation["responses"].keys()


async def test_every_reference_leads_somewhere(house: House):
    described = await schema(house)

    found = re.findall(r'"\$ref": "([^"]+)"', json.dumps(described))
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in described["components"]["schemas"]


async def test_there_is_no_page_that_loads_scripts_from_elsewhere(house: House):
    for path in ("/docs", "/redoc"):
        assert (await house.http.get(path)).status_code == 404
