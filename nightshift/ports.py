"""What Nightshift needs from the outside world, as Protocols. Adapters live in store/, blobs/, machines/, live/.

Every call may be repeated: names and ids are derived, never invented inside an adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from nightshift.models import Draft, GitHubToken, MachineInfo, MachineSpec, MachineState

Body = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """One stored document. `etag` changes with every write."""

    partition: str
    id: str
    body: Body
    etag: str


@dataclass(frozen=True)
class Page:
    documents: list[Document]
    cursor: str | None
    """Opaque; None when there is no more."""


type Find = Mapping[Literal["phase", "repository", "model", "agent", "text"], str]
NOTHING_ELSE: Find = {}

type Order = Literal["created", "active", "cost", "title"]
"""Of a list: titles from A to Z, everything else with the greatest first."""


class Store(Protocol):
    """Documents in partitions, as Cosmos DB has them: one document a write, no transaction over two.

    A body may carry indexed fields: `key` (a client-made id, looked up with `find`), and `kind` and `owner` (listed
    over all partitions, newest `created_at` first, with `newest`). What it has in `find` narrows such a list: `phase`,
    `repository`, `model` and `agent` as they are, `text` by any part of it. In another order it is listed by the text
    that it has for it in `sort`, and may be left out without one.
    """

    async def create(self, partition: str, id: str, body: Body) -> Document:
        """Raises Conflict if the id is taken in this partition."""
        ...

    async def read(self, partition: str, id: str) -> Document | None: ...

    async def replace(self, document: Document, body: Body) -> Document:
        """Raises PreconditionFailed if it changed since it was read, or is gone."""
        ...

    async def delete(self, partition: str, id: str) -> None:
        """Deleting what is not there is no error."""
        ...

    async def range(
        self, partition: str, low: str, high: str, *, limit: int = 100, newest_first: bool = False
    ) -> list[Document]:
        """Documents of a partition with low < id < high, ordered by id."""
        ...

    async def find(self, partition: str, key: str) -> Document | None:
        """The document of this partition whose body's `key` is this."""
        ...

    async def newest(
        self,
        kind: str,
        *,
        owner: str | None = None,
        find: Find = NOTHING_ELSE,
        order: Order = "created",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Documents of a kind, of an owner if one is named, over all partitions. A cursor says where the last page
        ended, not how long it was: what did not move meanwhile is listed once.
        Raises UserError on a bad cursor, such as one of another order."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Blob:
    """One stored file of a session."""

    name: str
    """SHA-256 of the content, in lower-case hex."""
    size: int
    """Bytes."""
    content_type: str


class Blobs(Protocol):
    """Files of sessions: attachments, artefacts, long texts. Named by their content, so never changed, and the
    same content is kept once a session."""

    async def put(self, session_id: str, name: str, content: bytes | AsyncIterable[bytes], content_type: str) -> Blob:
        """A repeat is a no-op. Raises Unprocessable if the content is not what its name says; then nothing is kept."""
        ...

    async def open(self, session_id: str, name: str) -> tuple[Blob, AsyncIterator[bytes]] | None:
        """The file and its content in pieces; None if there is none."""
        ...

    async def list(self, session_id: str) -> list[str]:
        """Names, sorted."""
        ...

    async def url(self, session_id: str, name: str, filename: str) -> str | None:
        """Where a browser may load it for some minutes, as a download of this name; None: only through the app."""
        ...

    async def delete_all(self, session_id: str) -> None:
        """Everything the session has. May be repeated."""
        ...

    async def close(self) -> None: ...


class Machines(Protocol):
    """One machine per session, named after it. Long operations are begun here and polled with `state`."""

    async def begin_start(self, spec: MachineSpec) -> None:
        """Start the machine at this generation. The same generation again changes nothing; an older one that
        still runs is stopped first. Raises Retryable, or Permanent with advice."""
        ...

    async def state(self, session_id: str) -> MachineState: ...

    async def begin_deallocate(self, session_id: str) -> None: ...

    async def begin_delete(self, session_id: str) -> None: ...

    async def list_all(self) -> list[MachineInfo]: ...

    async def close(self) -> None: ...


class GitHub(Protocol):
    async def token(self, repository: str | None, *, renew: bool = False) -> GitHubToken:
        """For git and the API. `renew`: one that was given before is refused by GitHub, though it should be good.
        Raises Unprocessable with what a person can do, or Retryable."""
        ...

    async def repositories(self) -> list[str]:
        """owner/name of those that agents may work in, the ones pushed to last first. Raises as `token` does."""
        ...

    async def close(self) -> None: ...


class Live(Protocol):
    """Tells listeners that something is new. A hint may be lost: nobody's correctness hangs on it."""

    async def hint(self, session_id: str, seq: int) -> None: ...

    async def draft(self, session_id: str, draft: Draft) -> None:
        """What the model is writing right now."""
        ...

    async def page_url(self, session_id: str) -> str | None:
        """A WebSocket URL with a short-lived token that opens this session's group only; None if there is none."""
        ...

    async def close(self) -> None: ...
