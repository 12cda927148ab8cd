"""The contract of the `Blobs` port. Every adapter passes it; add yours to `BLOBS`.

Blob Storage is Azurite here (nightshift/testing/emulators). It checks audience, issuer and expiry of tokens, signature
and expiry of URLs, ETag conditions and blocks; it does not check a token's signature or roles.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from nightshift.blobs import name_of
from nightshift.blobs.files import FileBlobs
from nightshift.blobs.storage import StorageBlobs
from nightshift.errors import NotFound, Permanent, Retryable, Unprocessable
from nightshift.ports import Blob, Blobs
from nightshift.testing.emulators.deployed import make_container
from nightshift.testing.emulators.identity import Identity
from tests.nightshift.fresh import BLOBS, fresh_blobs
from tests.nightshift.proxy import Proxy, proxied

PNG = "image/png"
MEGABYTE = 1 << 20


@pytest.fixture(params=BLOBS)
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    async with fresh_blobs(request.param, request, tmp_path) as blobs:
        yield blobs


async def content(blobs: Blobs, session_id: str, name: str) -> bytes | None:
    opened = await blobs.open(session_id, name)
    return None if opened is None else b"".join([piece async for piece in opened[1]])


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        await asyncio.sleep(0)
        yield piece


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 1000], ids=["empty", "one", "many"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_was_put_is_read(blobs: Blobs, data: bytes, streamed: bool) -> None:
    name = name_of(data)
    made = await blobs.put("s-1", name, pieces(data[:3], data[3:]) if streamed else data, PNG)
    assert made == Blob(name, len(data), PNG)
    opened = await blobs.open("s-1", name)
    assert opened is not None
    assert opened[0] == made
    assert await content(blobs, "s-1", name) == data


async def test_what_is_not_there_is_none(blobs: Blobs) -> None:
    name = name_of(b"x")
    assert await blobs.open("s-1", name) is None
    await blobs.put("s-1", name, b"x", PNG)
    assert await blobs.open("s-2", name) is None


async def test_a_repeat_changes_nothing_and_reads_nothing(blobs: Blobs) -> None:
    name = name_of(b"x")
    made = await blobs.put("s-1", name, b"x", PNG)

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    assert await blobs.put("s-1", name, unread(), "text/plain") == made
    assert await blobs.list("s-1") == [name]


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
async def test_of_puts_at_once_all_are_well(blobs: Blobs, size: int) -> None:
    data = b"x" * size
    name = name_of(data)
    made = await asyncio.gather(*(blobs.put("s-1", name, pieces(data[:5], data[5:]), PNG) for _ in range(5)))
    assert made == [Blob(name, size, PNG)] * 5
    assert await content(blobs, "s-1", name) == data
    assert await blobs.list("s-1") == [name]


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_not_what_its_name_says_is_not_kept(blobs: Blobs, size: int, streamed: bool) -> None:
    data, name = b"x" * size, name_of(b"other")
    with pytest.raises(Unprocessable, match="SHA-256"):
        await blobs.put("s-1", name, pieces(data) if streamed else data, PNG)
    assert await blobs.open("s-1", name) is None
    assert await blobs.list("s-1") == []


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
async def test_content_that_breaks_off_is_not_kept(blobs: Blobs, size: int) -> None:
    data = b"x" * size

    async def broken() -> AsyncIterator[bytes]:
        yield data[: size // 2]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.put("s-1", name_of(data), broken(), PNG)
    assert await blobs.open("s-1", name_of(data)) is None
    assert await blobs.list("s-1") == []
    await blobs.put("s-1", name_of(data), data, PNG)
    assert await content(blobs, "s-1", name_of(data)) == data


async def test_sessions_are_listed_and_deleted_apart(blobs: Blobs) -> None:
    for session_id in ("s-1", "s-10", "s-2"):
        for n in range(3):
            data = f"{session_id} {n}".encode()
            await blobs.put(session_id, name_of(data), data, PNG)
    names = [name_of(f"s-1 {n}".encode()) for n in range(3)]
    assert await blobs.list("s-1") == sorted(names)
    await asyncio.gather(blobs.delete_all("s-1"), blobs.delete_all("s-1"))
    await blobs.delete_all("s-1")
    assert await blobs.list("s-1") == []
    assert await blobs.open("s-1", names[0]) is None
    assert len(await blobs.list("s-10")) == len(await blobs.list("s-2")) == 3


@pytest.mark.parametrize(
    ("session_id", "name"),
    [
        ("..", "0" * 64),
        (".", "0" * 64),
        ("", "0" * 64),
        ("a/b", "0" * 64),
        ("s-1", "../" + "0" * 61),
        ("s-1", "0" * 63),
        ("s-1", "A" * 64),
        ("s-1", "0" * 64 + "\n"),
    ],
)
async def test_what_no_file_is_called_leads_nowhere(blobs: Blobs, session_id: str, name: str) -> None:
    with pytest.raises(NotFound):
        await blobs.open(session_id, name)
    with pytest.raises(NotFound):
        await blobs.put(session_id, name, b"", PNG)


@pytest.mark.parametrize("content_type", ["", "a\r\nb", "ä", "x" * 101])
async def test_a_content_type_is_plain(blobs: Blobs, content_type: str) -> None:
    with pytest.raises(Unprocessable, match="content type"):
        await blobs.put("s-1", name_of(b"x"), b"x", content_type)


async def test_large_files_are_never_in_memory_whole(blobs: Blobs) -> None:
    piece, count = b"x" * MEGABYTE, 24
    name = hashlib.sha256(piece * count).hexdigest()
    tracemalloc.start()
    try:
        await blobs.put("s-1", name, pieces(*[piece] * count), PNG)
        opened = await blobs.open("s-1", name)
        assert opened is not None
        read = 0
        async for part in opened[1]:
            read += len(part)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == opened[0].size == count * MEGABYTE
    assert peak < 8 * MEGABYTE


async def test_files_have_no_url_of_their_own(tmp_path: Path) -> None:
    assert await FileBlobs(tmp_path).url("s-1", name_of(b"x"), "x.png") is None


async def test_a_url_opens_its_file_to_read_and_nothing_else(
    azurite_account: tuple[str, Path], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async with fresh_blobs("azurite", request, tmp_path) as blobs:
        for data in (b"one", b"two"):
            await blobs.put("s-1", name_of(data), data, PNG)
        url = await blobs.url("s-1", name_of(b"one"), 'naïve; "1".png')
    assert url is not None
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=azurite_account[1])) as browser:
        answer = await browser.get(url)
        assert (answer.status_code, answer.content) == (200, b"one")
        assert answer.headers["content-type"] == PNG
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''na%C3%AFve%3B%20%221%22.png"
        assert (await browser.get(url.replace(name_of(b"one"), name_of(b"two")))).status_code == 403
        assert (await browser.get(url.partition("?")[0])).status_code in (401, 403, 404)
        assert (await browser.put(url, content=b"x", headers={"x-ms-blob-type": "BlockBlob"})).status_code == 403
        assert (await browser.delete(url)).status_code == 403
        query = httpx.URL(url).params
        later = str(httpx.URL(url).copy_set_param("se", query["se"].replace("202", "203")))
        assert (await browser.get(later)).status_code == 403


async def test_a_container_that_is_missing_is_no_empty_one(azurite_account: tuple[str, Path]) -> None:
    blobs = StorageBlobs(f"{azurite_account[0]}/nowhere", Identity())
    try:
        for call in (
            lambda: blobs.open("s-1", name_of(b"x")),
            lambda: blobs.put("s-1", name_of(b"x"), b"x", PNG),
            lambda: blobs.list("s-1"),
        ):
            with pytest.raises(Permanent):
                await call()
    finally:
        await blobs.close()


# --- connections that break -----------------------------------------------------------------------------


@pytest.fixture
async def proxy(azurite_account: tuple[str, Path]) -> AsyncIterator[Proxy]:
    async with proxied(azurite_account[0]) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: Proxy) -> AsyncIterator[StorageBlobs]:
    blobs = StorageBlobs(await make_container(proxy.url), Identity())
    await blobs.list("s-1")
    yield blobs
    await blobs.close()


@pytest.mark.parametrize("size", [10, 3 * MEGABYTE])
@pytest.mark.parametrize("spared", [0, 200, 500, 1000])
async def test_a_put_whose_answers_are_lost_is_done_once(
    far: StorageBlobs, proxy: Proxy, size: int, spared: int
) -> None:
    data = bytes(range(10)) * (size // 10)
    proxy.spared, proxy.cut_answers = spared, 1
    assert await far.put("s-1", name_of(data), pieces(data[:7], data[7:]), PNG) == Blob(name_of(data), len(data), PNG)
    assert proxy.cut_answers == 0
    assert await content(far, "s-1", name_of(data)) == data
    assert await far.list("s-1") == [name_of(data)]


async def test_a_download_that_breaks_off_goes_on(far: StorageBlobs, proxy: Proxy) -> None:
    data = bytes(range(256)) * 12_000
    await far.put("s-1", name_of(data), data, PNG)
    for spared in (0, 600_000, 1_700_000):
        proxy.spared, proxy.cut_answers = spared, 1
        assert await content(far, "s-1", name_of(data)) == data
        assert proxy.cut_answers == 0


async def test_when_every_connection_breaks_it_may_be_tried_again(far: StorageBlobs, proxy: Proxy) -> None:
    proxy.cut_requests = 1000
    with pytest.raises(Retryable, match="Blob Storage"):
        await far.put("s-1", name_of(b"x"), b"x", PNG)
    proxy.cut_requests = 0
    await far.put("s-1", name_of(b"x"), b"x", PNG)
    assert await content(far, "s-1", name_of(b"x")) == b"x"
