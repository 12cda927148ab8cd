"""A cache of limited size."""

from collections import OrderedDict
from typing import Any


class Cache:
    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, Any] = OrderedDict()

    def get(self, key: str, default: Any = None) -> Any:
        value = self._entries.get(key)
        return default if value is None else value

    def put(self, key: str, value: Any) -> None:
        self._entries[key] = value
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
