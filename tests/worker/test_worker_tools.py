"""What every tool is, and what they have in common."""

from __future__ import annotations

from typing import Any

from tests.worker.conftest import TOOLS, use
from worker.tools import Workbench


def test_schemas_are_strict() -> None:
    def check(schema: Any) -> None:
        if isinstance(schema, list):
            for part in schema:  # pyright: ignore[reportUnknownVariableType]
                check(part)
        elif isinstance(schema, dict):
            if "properties" in schema:
                assert schema["additionalProperties"] is False
                assert schema["required"] == list(schema["properties"])  # pyright: ignore[reportUnknownArgumentType]
            assert "default" not in schema
            for part in schema.values():  # pyright: ignore[reportUnknownVariableType]
                check(part)

    assert TOOLS.names[:5] == ["shell", "background", "view", "edit", "create"]
    for schema in TOOLS.schemas:
        assert schema["strict"] is True
        assert schema["description"]
        check(schema["parameters"])
    title = next(schema for schema in TOOLS.schemas if schema["name"] == "set_title")["parameters"]
    assert list(title["properties"]) == ["title"], "a property called title is no keyword"


async def test_a_fault_of_the_machine_is_told_to_the_model(bench: Workbench) -> None:
    output = await use(bench, "create", path="/proc/nowhere/f", text="x")
    assert output.is_error
    assert output.text == "/proc/nowhere: No such file or directory."
