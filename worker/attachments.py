"""Files that the user gave, on the machine's disk before the agent reads the message that they came with."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable

from nightshift.errors import NightshiftError, UserError
from nightshift.models import FileRef, Item, ItemKind
from worker.outputs import Outputs

logger = logging.getLogger(__name__)

FOLDER = "attachments"
_LONGEST = 100


def kept_as(file: FileRef) -> str:
    """Its name on the disk: two files of one name are told apart by what is in them."""
    return f"{file.name[:8]}-{re.sub(r'[^\w.-]', '_', file.filename)[-_LONGEST:]}"


class Attachments:
    """`fetch` asks the control plane. What could not be had is left out: the agent sees that it is not there."""

    def __init__(self, outputs: Outputs, fetch: Callable[[FileRef], Awaitable[bytes]]) -> None:
        self._outputs = outputs
        self._fetch = fetch

    async def keep(self, items: Iterable[Item]) -> None:
        """A file that is there already is left as it is: the agent may have changed it."""
        wanted = {kept_as(file): file for item in items if item.kind is ItemKind.USER_MESSAGE for file in item.files}
        for name in wanted.keys() - set(self._outputs.names() if wanted else ()):
            try:
                self._outputs.put(name, await self._fetch(wanted[name]))
            except UserError:  # the control plane no longer wants this worker
                raise
            except (NightshiftError, OSError) as fault:
                logger.warning("the user's file %s is not on this machine: %s", name, fault)
