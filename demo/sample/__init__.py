"""A small repository with a bug, and the issue that reports it."""

from pathlib import Path

from demo.forge import Forge

OWNER, NAME = "acme", "tidytime"
HERE = Path(__file__).parent
REPOSITORY = HERE / "repository"


def issue() -> tuple[str, str]:
    """Title and body."""
    title, _, body = (HERE / "issue.md").read_text(encoding="utf-8").partition("\n")
    return title.removeprefix("# "), body.strip()


async def plant(forge: Forge) -> None:
    """Puts both into the forge, once."""
    await forge.create_repository(OWNER, NAME, REPOSITORY)
    if not forge.issues(OWNER, NAME):
        forge.create_issue(OWNER, NAME, *issue(), author="dana", labels=["bug"])
