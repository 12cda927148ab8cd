"""Blobs in Azure Blob Storage. A blob is `<session>/<name>` in one container."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobProperties, BlobSasPermissions, ContentSettings, UserDelegationKey, generate_blob_sas
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ExponentialRetry

from nightshift.azure import azure_faults
from nightshift.blobs import check_place, check_type, verified
from nightshift.ports import Blob

BLOCK = 1 << 20
"""Bytes that are sent and fetched at once, and so in memory. aiohttp warns of larger ones: they hold up the loop."""
URL_LIFETIME = timedelta(minutes=10)
_KEY_LIFETIME = timedelta(hours=2)
_SKEW = timedelta(minutes=5)
"""Clocks may differ by so much."""


class StorageBlobs:
    """`Blobs` on Azure Blob Storage. The credential stays the caller's to close."""

    def __init__(self, container_url: str, credential: AsyncTokenCredential) -> None:
        """`container_url` as https://ACCOUNT.blob.core.windows.net/CONTAINER."""
        account_url, _, container = container_url.rstrip("/").rpartition("/")
        self._service = BlobServiceClient(
            account_url,
            credential,
            max_single_put_size=BLOCK,
            max_block_size=BLOCK,
            max_single_get_size=BLOCK,
            max_chunk_get_size=BLOCK,
            # The SDK's own first pause is 15 s: longer than anybody waits for an answer.
            retry_policy=ExponentialRetry(initial_backoff=1, increment_base=1, retry_total=3, random_jitter_range=1),
            connection_timeout=10,
            read_timeout=30,
        )
        self._container = self._service.get_container_client(container)
        self._key: tuple[UserDelegationKey, datetime] | None = None
        """And when it expires."""

    async def put(self, session_id: str, name: str, content: bytes | AsyncIterable[bytes], content_type: str) -> Blob:
        check_place(session_id, name)
        check_type(content_type)
        blob = self._blob(session_id, name)
        with azure_faults("Blob Storage"):
            kept = await _properties(blob)
            if kept is None:
                # Blocks are staged, and the blob is there when all were committed: an error of `verified` comes before.
                pieces = verified(name, content)
                data = b"".join([piece async for piece in pieces]) if isinstance(content, bytes) else pieces
                with suppress(ResourceExistsError):  # somebody else was as fast, with the same content
                    settings = ContentSettings(content_type=content_type)
                    await blob.upload_blob(data, overwrite=False, content_settings=settings)
                kept = await blob.get_blob_properties()
            return _described(name, kept)

    async def open(self, session_id: str, name: str) -> tuple[Blob, AsyncIterator[bytes]] | None:
        check_place(session_id, name)
        with azure_faults("Blob Storage"):
            try:
                stream = await self._blob(session_id, name).download_blob()
            except ResourceNotFoundError as error:
                if _is_missing_blob(error):
                    return None
                raise
        return _described(name, stream.properties), _faultless(stream.chunks())

    async def list(self, session_id: str) -> list[str]:
        check_place(session_id)
        prefix = f"{session_id}/"
        with azure_faults("Blob Storage"):
            names = [name async for name in self._container.list_blob_names(name_starts_with=prefix)]
        return sorted(name.removeprefix(prefix) for name in names)

    async def url(self, session_id: str, name: str, filename: str) -> str | None:
        check_place(session_id, name)
        blob, now = self._blob(session_id, name), datetime.now(UTC)
        with azure_faults("Blob Storage"):
            signature = generate_blob_sas(
                str(self._service.account_name),
                blob.container_name,
                blob.blob_name,
                user_delegation_key=await self._delegation_key(now),
                permission=BlobSasPermissions(read=True),
                start=now - _SKEW,
                expiry=now + URL_LIFETIME,
                protocol="https",
                # Never shown as a page of its own, whatever an agent put into it; <img> does not mind.
                content_disposition=f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
            )
        return f"{blob.url}?{signature}"

    async def delete_all(self, session_id: str) -> None:
        for name in await self.list(session_id):
            with azure_faults("Blob Storage"):
                try:
                    await self._blob(session_id, name).delete_blob(delete_snapshots="include")
                except ResourceNotFoundError:
                    continue  # a repeat of this very call was faster

    async def close(self) -> None:
        await self._service.close()

    def _blob(self, session_id: str, name: str) -> BlobClient:
        return self._container.get_blob_client(f"{session_id}/{name}")

    async def _delegation_key(self, now: datetime) -> UserDelegationKey:
        """Signs URLs in place of the account's key, which nobody has."""
        if self._key is None or self._key[1] < now + URL_LIFETIME + _SKEW:
            expiry = now + _KEY_LIFETIME
            self._key = await self._service.get_user_delegation_key(now - _SKEW, expiry), expiry
        return self._key[0]


async def _properties(blob: BlobClient) -> BlobProperties | None:
    try:
        return await blob.get_blob_properties()
    except ResourceNotFoundError as error:
        if _is_missing_blob(error):
            return None
        raise


def _is_missing_blob(error: ResourceNotFoundError) -> bool:
    """A container that is missing answers 404, too, and must not look like an empty one."""
    return getattr(error, "error_code", None) == "BlobNotFound"


def _described(name: str, properties: BlobProperties) -> Blob:
    return Blob(name, properties.size, properties.content_settings.content_type or "application/octet-stream")


async def _faultless(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with azure_faults("Blob Storage"):
        async for piece in pieces:
            yield piece
