"""The tools of one agent, in an order that stays: the list is part of the prompt cache's prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from worker.tools.base import Output
from worker.tools.workbench import Workbench


class AnyTool(Protocol):
    """What the loop needs of a tool, wherever it comes from."""

    @property
    def name(self) -> str: ...

    @property
    def repeatable(self) -> bool:
        """Doing it twice is doing it once: after a restart a call without an output is simply made again."""
        ...

    @property
    def reads(self) -> bool:
        """It only looks, so that several may run side by side."""
        ...

    def schema(self) -> dict[str, Any]:
        """As the Responses API takes it."""
        ...

    async def __call__(self, arguments: str, bench: Workbench) -> Output:
        """`arguments` is JSON, as the model wrote it. Whatever goes wrong becomes text for the model."""
        ...


class Others(Protocol):
    """Tools from elsewhere, which may come and go."""

    async def tools(self) -> Sequence[AnyTool]:
        """Those that there are now."""
        ...


class Toolset:
    """The agent's own tools as they stand, then the others sorted by name."""

    def __init__(self, own: Sequence[AnyTool], others: Others | None = None) -> None:
        self._own = tuple(own)
        self._others = others
        self._take(())

    async def renew(self) -> None:
        """Look which others there are: at the beginning of a turn, since a changed list costs the prompt cache."""
        if self._others:
            self._take(await self._others.tools())

    def get(self, name: str | None) -> AnyTool | None:
        return self._by_name.get(name or "")

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    def _take(self, others: Sequence[AnyTool]) -> None:
        self._by_name: dict[str, AnyTool] = {}
        for tool in (*self._own, *sorted(others, key=lambda each: each.name)):
            self._by_name.setdefault(tool.name, tool)  # nobody takes the place of the agent's own
        self.schemas = [tool.schema() for tool in self._by_name.values()]
