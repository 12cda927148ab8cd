"""What a repository tells agents: read from its base branch, never from a working tree that a change may have touched.

The root's files come with `clone`; those of a folder come once, with the first tool call that works in it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

FILE_LIMIT = 16_000
"""Characters of one file; what is longer is cut and can be viewed."""
LIMIT = 48_000
"""Characters that are told at once."""
NAMES = (
    r"AGENTS\.md|AGENT\.md|CLAUDE\.md|\.github/copilot-instructions\.md|\.clinerules|\.clinerules/[^/]+\.md|\.cursorrules"
    r"|\.cursor/rules/[^/]+\.mdc?|AmazonQ\.md|\.amazonq/rules/[^/]+\.md"
)
KNOWN = re.compile(rf"(?:(?P<folder>.+)/)?(?:{NAMES})")
TEMPLATE = re.compile(r"(?i)(?:(?:\.github|docs)/)?pull_request_template(?:\.md|\.txt|/[^/]+\.md)")
LINK = "120000"

type Git = Callable[..., Awaitable[bytes]]
"""What git prints, empty if it fails: git(*arguments, cwd=)."""


@dataclass(frozen=True)
class Base:
    """The files for agents on a repository's base branch, by their paths."""

    ref: str
    knowledge: dict[str, bool]
    """True: a symbolic link."""
    templates: list[str]


async def base(repository: Path, git: Git) -> Base:
    """Of the default branch as it was fetched last; of a repository that has none elsewhere, of HEAD."""
    listing, ref = "", "HEAD"
    for ref in ("refs/remotes/origin/HEAD", "HEAD"):
        listing = (await git("ls-tree", "-r", "-z", ref, cwd=repository)).decode(errors="replace")
        if listing:
            break
    knowledge: dict[str, bool] = {}
    templates: list[str] = []
    for line in filter(None, listing.split("\0")):
        meta, path = line.split("\t", 1)
        if KNOWN.fullmatch(path):
            knowledge[path] = meta.startswith(LINK)
        elif TEMPLATE.fullmatch(path):
            templates.append(path)
    return Base(ref, knowledge, templates)


async def told(
    repository: Path, folders: list[str], known: Base, git: Git, label: str, already: Callable[[str], bool]
) -> str:
    """The files of these folders (`` is the root) in their order, so that the nearest comes last. `already` is asked
    for each file's first line. What says the same as another is told once."""
    parts: list[str] = []
    seen: set[str] = set()
    left = LIMIT
    for folder in folders:
        for path in sorted(path for path in known.knowledge if _folder(path) == folder):
            head = f'<knowledge file="{label}/{path}">'
            if already(head):
                continue
            content = await _content(repository, path, known, git)
            if not content or content in seen:
                continue
            seen.add(content)
            limit = min(FILE_LIMIT, left)
            cut = "\n[... cut here; view the file for the rest]" if len(content) > limit else ""
            left -= min(len(content), limit)
            parts.append(f"\n{head}\n{content[:limit]}{cut}\n</knowledge>")
    return "\n".join(parts)


async def template(repository: Path, known: Base, git: Git) -> str:
    """The pull request template, or all of them."""
    parts: list[str] = []
    for path in known.templates:
        if content := await _show(repository, path, known, git):
            parts.append(f'\n<pull_request_template file="{path}">\n{content[:FILE_LIMIT]}\n</pull_request_template>')
    return "\n".join(parts[:5])


def headings(text: str) -> list[str]:
    """The Markdown headings of a template that a description is to have."""
    return re.findall(r"^#{1,4} +(.+?) *#*$", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL), re.MULTILINE)


def chain(top: Path, folder: Path) -> list[str]:
    """From the root down to the folder."""
    parts = folder.relative_to(top).parts
    return ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]


async def _content(repository: Path, path: str, known: Base, git: Git) -> str:
    content = await _show(repository, path, known, git)
    if not known.knowledge[path]:
        return content
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), content))
    if target in known.knowledge or target.startswith(("../", "/")):  # told as itself; outside of the repository
        return ""
    return await _show(repository, target, known, git)


async def _show(repository: Path, path: str, known: Base, git: Git) -> str:
    return (await git("cat-file", "blob", f"{known.ref}:{path}", cwd=repository)).decode(errors="replace").strip()


def _folder(path: str) -> str:
    match = KNOWN.fullmatch(path)
    return (match["folder"] or "") if match else ""
