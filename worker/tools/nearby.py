"""What the repository around a folder tells agents, told with the first tool call that works there."""

from __future__ import annotations

import os
from pathlib import Path

from worker import knowledge
from worker.tools.workbench import Workbench


async def knowledge_at(folder: Path | None, bench: Workbench) -> str:
    """Of the folders from the repository's root to this one, what the model has not read yet."""
    top = repository_of(folder, bench) if folder else None
    if folder is None or top is None:
        return ""
    known = await base(top, bench)
    folders = knowledge.chain(top, folder.resolve())
    return await knowledge.told(top, folders, known, bench.git, _label(top, bench), bench.told)


async def knowledge_of(repository: Path, bench: Workbench) -> str:
    """The root's, and the pull request template, whether they have been read or not."""
    bench.bases.pop(repository.resolve(), None)  # it has just been fetched
    known = await base(repository.resolve(), bench)
    label = _label(repository.resolve(), bench)
    told = await knowledge.told(repository, [""], known, bench.git, label, lambda line: False)
    return told + await knowledge.template(repository, known, bench.git)


async def base(repository: Path, bench: Workbench) -> knowledge.Base:
    if repository not in bench.bases:
        bench.bases[repository] = await knowledge.base(repository, bench.git)
    return bench.bases[repository]


def repository_of(folder: Path, bench: Workbench) -> Path | None:
    """The root of the repository in the workspace that the folder is in."""
    workspace, folder = bench.workspace.resolve(), folder.resolve()
    for place in (folder, *folder.parents):
        if not place.is_relative_to(workspace):
            return None
        if os.path.exists(place / ".git"):  # also where the worker may not look: then there is none
            return place
    return None


def _label(top: Path, bench: Workbench) -> str:
    return str(top.relative_to(bench.workspace.resolve()))
