"""Local machines: what a host that was killed in the middle of a call leaves is dealt with by the next call."""

from __future__ import annotations

from pathlib import Path

from nightshift.machines.local import LocalMachines, machine_name
from nightshift.models import Power


async def test_delete_finishes_what_a_killed_delete_left(tmp_path: Path) -> None:
    machines = LocalMachines(tmp_path)
    left = tmp_path / machine_name("s-1") / "home"
    left.mkdir(parents=True)  # machine.json is gone already
    await machines.begin_delete("s-1")
    assert not left.parent.exists()
    assert (await machines.state("s-1")).power is Power.ABSENT
    await machines.begin_delete("s-1")
