"""Hardware for `Arm`: its machines are process trees on this computer."""

from __future__ import annotations

import base64

from nightshift.machines.local import LocalMachines
from nightshift.models import MachineSpec
from nightshift.testing.cloud import Event


class LocalHardware:
    def __init__(self, machines: LocalMachines) -> None:
        self._machines = machines
        self._sessions: dict[str, str] = {}

    async def happen(self, event: Event) -> None:
        match event.kind:
            case "boot":
                spec = MachineSpec.model_validate_json(base64.b64decode(event.user_data))
                self._sessions[event.name] = spec.session_id
                await self._machines.begin_start(spec)
            case "halt":
                await self._machines.begin_deallocate(self._sessions[event.name])
            case "wipe" if event.name in self._sessions:
                await self._machines.begin_delete(self._sessions.pop(event.name))
            case "wipe":
                pass  # it never ran
