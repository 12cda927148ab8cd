"""Files on their way: what a message takes along, and what the agent sent."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from pydantic import ValidationError

from nightshift.models import MAX_FILE, MAX_FILES, FileRef


@dataclass(frozen=True)
class Attached:
    """A file as it was when it was read: it is named by its content, which may change meanwhile on disk."""

    ref: FileRef
    content: bytes


def attach(context: click.Context, option: click.Parameter, paths: Sequence[Path]) -> list[Attached]:
    """Raises BadParameter for what the server would not take, before anything is sent."""
    if len(paths) > MAX_FILES:
        raise click.BadParameter(f"{len(paths)} files are too many: a message takes {MAX_FILES}, an archive holds more")
    return [_attached(path) for path in paths]


def _attached(path: Path) -> Attached:
    if (size := path.stat().st_size) > MAX_FILE:
        raise click.BadParameter(
            f"{path} has {size / (1 << 20):.1f} MB, and a file may have {MAX_FILE >> 20}: compress or split it, or put "
            "it where the agent can fetch it from"
        )
    content, type = path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    name = hashlib.sha256(content).hexdigest()
    try:
        return Attached(FileRef(name=name, filename=path.name, content_type=type, size=len(content)), content)
    except ValidationError as error:
        raise click.BadParameter(f"{str(path)!r} has a name that cannot be sent: rename it") from error


def save(folder: Path, file: FileRef, content: bytes) -> Path:
    """Under its own name, but over nothing: beside another file of that name it is told apart by its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = Path(file.filename if file.filename not in (".", "..") else file.name)
    for name in (plain.name, f"{plain.stem}-{file.name[:12]}{plain.suffix}"):
        path = folder / name
        try:
            with path.open("xb") as new:
                new.write(content)
        except FileExistsError:
            if path.read_bytes() != content:
                continue
        return path
    raise click.ClickException(f"{folder / plain.name} is another file already: choose another folder")


def describe(file: FileRef) -> str:
    size = file.size
    return f"{file.filename} ({f'{size / (1 << 20):.1f} MB' if size >= 1 << 20 else f'{-(-size // 1024)} kB'})"
