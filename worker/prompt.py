"""What the agent is told: worker/system.md, filled in. It stays the same through a session, so that the prompt cache
holds: what a repository says to agents comes with the output of tools (worker/knowledge.py), not from here."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from string import Template

from nightshift.models import WorkerConfig

SYSTEM = Template(Path(__file__).with_name("system.md").read_text(encoding="utf-8"))

STAY = """\
The machine and its files stay for the whole session. After a restart a command may have been cut short: look before
  you repeat it."""
GO = """\
The machine and its files go when you have had nothing to do for a while; what you pushed stays. Commit and push to your
  branch before a turn ends. If your files are gone, clone again and go on from what is pushed."""


def system_prompt(config: WorkerConfig, folder: Path, began: datetime) -> str:
    common = f"\n# What your team adds\n{config.common_prompt.strip()}\n" if config.common_prompt.strip() else ""
    own = f"\n# Who you are in this session\n{config.agent_prompt.strip()}\n" if config.agent_prompt.strip() else ""
    repository = f"The task concerns {config.repository}." if config.repository else "The user names the repository."
    return SYSTEM.substitute(
        folder=folder,
        files=STAY if config.keeps_files else GO,
        repository=repository,
        session=config.session_id,
        branch=f"nightshift/{config.session_id}",
        date=began.date().isoformat(),
        agent=own,
        common=common,
    )
