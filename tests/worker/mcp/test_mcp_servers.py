"""Published servers, as they come; in a sandbox, where there is one."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest_asyncio

from tests.worker.conftest import UPLOADED, until
from tests.worker.mcp import installed
from tests.worker.mcp.conftest import Rig, running
from worker.sandbox import bubblewrap
from worker.tools import text


@pytest_asyncio.fixture
async def everything(tmp_path: Path) -> AsyncGenerator[Rig]:
    command, *args = installed.node("server-everything")
    servers = {"all": {"command": command, "args": args, "timeout": 20}}
    async with running(tmp_path, servers, bubblewrap(tmp_path, ())) as rig:
        await until_there(rig, "all__echo")
        yield rig


async def until_there(rig: Rig, name: str) -> None:
    """On a busy machine a start may take longer than a turn waits."""
    async with asyncio.timeout(60):
        while name not in rig.toolset.names:
            await rig.toolset.renew()


async def test_everything_a_result_may_hold(everything: Rig) -> None:
    use = everything.use
    assert (await use("all__echo", message="hello")).text == "Echo: hello"
    image = await use("all__get-tiny-image")
    assert "[c2.1.png]" in image.text
    assert [(file.filename, file.content_type) for file in image.files] == [("c2.1.png", "image/png")]
    assert UPLOADED[image.files[0].name].startswith(b"\x89PNG")
    assert '"temperature":33' in (await use("all__get-structured-content", location="New York")).text
    assert "[resource demo://resource" in (await use("all__get-resource-links", count=2)).text
    embedded = (await use("all__get-resource-reference", resourceType="Text", resourceId=1)).text
    assert "[resource demo://resource/dynamic/text/1]\nResource 1" in embedded


async def test_arguments_are_checked_by_the_server(everything: Rig) -> None:
    output = await everything.use("all__get-sum", a="one")
    assert output.is_error
    assert "number" in output.text


async def test_descriptions_have_a_limit_and_the_servers_words_are_on_the_first(everything: Rig) -> None:
    first, second = everything.toolset.schemas[:2]
    assert "[Of all tools of all: # Everything Server" in first["description"]
    assert "Everything Server" not in second["description"]
    assert all(len(schema["description"]) < 5000 for schema in everything.toolset.schemas)
    assert [schema["name"] for schema in everything.toolset.schemas] == sorted(everything.toolset.names)


async def test_progress_keeps_a_long_call_alive(tmp_path: Path) -> None:
    command, *args = installed.node("server-everything")
    async with running(tmp_path, {"all": {"command": command, "args": args, "timeout": 1}}) as rig:
        await until_there(rig, "all__echo")
        output = await rig.use("all__trigger-long-running-operation", duration=2.4, steps=6)
        assert "Long running operation completed" in output.text


@asynccontextmanager
async def over_http(port: int) -> AsyncGenerator[None]:
    command = installed.node("server-everything")
    server = await asyncio.create_subprocess_exec(
        *(*command, "streamableHttp"),
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await until(lambda: _listens(port))
        yield
    finally:
        server.kill()
        await server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_over_http_and_over_the_servers_restart(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        await first.enter_async_context(over_http(port))
        entry = {"url": f"http://127.0.0.1:{port}/mcp", "timeout": 20}
        rig = await stack.enter_async_context(running(tmp_path, {"far": entry}))
        await until_there(rig, "far__echo")
        assert (await rig.use("far__echo", message="hello")).text == "Echo: hello"
        await first.aclose()
        lost = await rig.use("far__echo", message="hello")
        assert lost.is_error
        assert "The MCP server far" in lost.text
        await stack.enter_async_context(over_http(port))
        async with asyncio.timeout(20):
            while (again := await rig.use("far__echo", message="hello")).is_error:
                await asyncio.sleep(0.05)
        assert again.text == "Echo: hello"


async def test_filesystem_and_git(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", "-b", "main", repository], check=True)  # noqa: ASYNC221
    (repository / "file.txt").write_text("x" * (text.LIMIT + 100))
    node, *args = installed.node("server-filesystem")
    (python, *options), env = installed.git()
    servers = {
        "files": {
            "command": node,
            "args": [*args, str(repository)],
            "tools": ["read_text_file", "list_directory", "write_file"],
        },
        "git": {"command": python, "args": [*options, "--repository", str(repository)], "env": env},
    }
    async with running(tmp_path, servers, bubblewrap(tmp_path, ())) as rig:
        await until_there(rig, "files__list_directory")
        await until_there(rig, "git__git_status")
        assert [name for name in rig.toolset.names if name.startswith("files__")] == [
            "files__list_directory",
            "files__read_text_file",
            "files__write_file",
        ]
        write = await rig.use("files__write_file", path=str(repository / "new.txt"), content="new")
        assert "It says of itself that it may change or delete" in write.text
        assert not (repository / "new.txt").exists()
        read = await rig.use("files__read_text_file", path=str(repository / "file.txt"))
        assert "characters left out; the whole output is in" in read.text
        assert "file.txt" in (await rig.use("git__git_status", repo_path=str(repository))).text
        assert (await rig.use("files__list_directory", path="/etc")).is_error


async def test_a_server_is_gone_with_the_worker(everything: Rig) -> None:
    everything.run.cancel()
    await until(everything.run.done)
