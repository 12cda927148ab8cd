"""The user's yes: asked by a tool's output, given by a message, used once. All of it is in the log."""

from __future__ import annotations

from nightshift.models import Approval, ItemKind, NewItem
from worker import history
from worker.log import Log
from worker.masking import Secrets

NEEDED = """\
Not done: it needs the user's yes. {reason} The user has been asked, and your turn ends here. If the user approves, make
exactly the same call again. Do not reach the same by another way."""


class Approvals:
    def __init__(self, log: Log, secrets: Secrets, generation: int) -> None:
        self._log = log
        self._secrets = secrets
        self._generation = generation
        self._taken: set[str] = set()

    async def allows(self, approval: Approval) -> bool:
        """Whether the user said yes to exactly this. Unless it lasts, the yes is used up, and the log says so before
        anything is done: after a crash in between it must be given again."""
        as_stored = Approval.model_validate(self._secrets.mask(approval.model_dump(), found=True))
        if approval.lasting:
            return bool(history.unused_yes(self._log.items, as_stored))
        for call_id in history.unused_yes(self._log.items, as_stored):
            if call_id in self._taken:  # by a call that runs beside this one
                continue
            self._taken.add(call_id)
            notice = NewItem(
                id=history.used_id(call_id),
                kind=ItemKind.NOTICE,
                generation=self._generation,
                code=history.APPROVAL_USED,
                text=f"Done with your approval: {approval.action}",
            )
            await self._log.append(notice)
            return True
        return False


async def nobody_said_yes(approval: Approval) -> bool:
    return False
