"""A plugin for pytest, in the process of the published tests: our hub where they ask for their in-memory backend."""

from __future__ import annotations

from typing import Any

import durabletask.testing
import durabletask.testing.in_memory_backend
import pytest

from embedded.taskhub import TaskHub


def create_test_backend(port: int = 50051, **_: Any) -> TaskHub:
    hub = TaskHub(port=port)
    hub.start()
    return hub


durabletask.testing.create_test_backend = create_test_backend  # pyright: ignore[reportAttributeAccessIssue]
durabletask.testing.in_memory_backend.create_test_backend = create_test_backend  # pyright: ignore[reportAttributeAccessIssue]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some are skipped for what Azurite's queues cannot do, which nothing here needs."""
    for item in items:
        for node in item.listchain():
            node.own_markers = [
                mark for mark in node.own_markers if mark.name != "skip" or "visibility" not in mark.kwargs["reason"]
            ]
