"""Hardware for `Arm`: its machines are process trees on this computer."""

from __future__ import annotations

import base64

from nightshift.machines.local import LocalMachines
from nightshift.models import MachineSpec, UserData
from nightshift.testing.cloud import Event


class LocalHardware:
    """`machines` know the model's endpoint, which machines in Azure sign in to by their identity."""

    def __init__(self, machines: LocalMachines) -> None:
        self._machines = machines
        self._sessions: dict[str, str] = {}

    async def happen(self, event: Event) -> None:
        match event.kind:
            case "boot":
                data = UserData.model_validate_json(base64.b64decode(event.user_data))
                self._sessions[event.name] = data.session_id
                await self._machines.begin_start(MachineSpec(**data.model_dump(exclude={"endpoint"})))
            case "halt":
                await self._machines.begin_deallocate(self._sessions[event.name])
            case "wipe" if event.name in self._sessions:
                await self._machines.begin_delete(self._sessions.pop(event.name))
            case "wipe":
                pass  # it never ran
