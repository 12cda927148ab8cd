"""GitHub's JSON, field by field as its OpenAPI description has it (tests/demo/test_forge_schema.py compares)."""
