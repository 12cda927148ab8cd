"""A control plane, a scripted model and a machine with a real worker process on it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from demo import sample
from demo.forge import Forge
from demo.model import ScriptedModel
from nightshift.models import FileRef, GitHubToken, MachineSpec, ModelEndpoint, WorkerConfig
from tests.demo.forge_tools import clients
from tests.worker.controlplane import TOKEN, ControlPlane
from worker import credentials, process, sandbox
from worker.background import Background
from worker.credentials import Tokens
from worker.masking import Secrets
from worker.outputs import Outputs
from worker.sandbox import Sandbox, bubblewrap
from worker.tools import OWN, Output, Toolset, Workbench, disk

ROOT = Path(__file__).parents[2]
API_KEY = "api-key-of-the-tests"


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for what another process does: nobody tells when."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Machine:
    """Runs `python -m worker` in a folder of its own, as a machine does."""

    def __init__(self, folder: Path, plane: ControlPlane, model: ScriptedModel) -> None:
        self.folder = folder
        self.plane = plane
        self.model = model
        self.endpoint = ModelEndpoint(base_url=model.url, api_key=API_KEY)
        self.log = folder / "worker.log"
        self.worker: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.plane.config.endpoint = self.endpoint
        data = MachineSpec(session_id="s1", generation=1, api_url=self.plane.url, token=TOKEN)
        with self.log.open("ab") as log:
            self.worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker", "--machine", "test"),
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(self.folder)},
                stdin=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.worker.stdin
        self.worker.stdin.write(data.model_dump_json().encode())
        self.worker.stdin.close()

    async def ended(self) -> int:
        assert self.worker
        return await asyncio.wait_for(self.worker.wait(), 20)

    async def kill(self) -> None:
        """As a power cut does, as far as the worker is concerned."""
        assert self.worker
        self.worker.kill()
        await self.ended()

    async def stop(self) -> None:
        if self.worker and self.worker.returncode is None:
            self.worker.terminate()
            assert await self.ended() == 0

    def processes(self) -> list[int]:
        """Of tools, wherever they went."""
        return process.marked(process.TOOLS_MARK, str(self.folder))


def configuration(**changes: object) -> WorkerConfig:
    fields: dict[str, object] = {
        "session_id": "s1",
        "generation": 1,
        "model": "scripted-model",
        "repository": "acme/tidytime",
        "github_api_url": "http://127.0.0.1:9/api/v3",
        "github_host": "http://127.0.0.1:9",
        "max_steps": 50,
        "heartbeat_seconds": 60,
    }
    return WorkerConfig.model_validate(fields | changes)


NO_SANDBOX = Sandbox("The tests' own.")
SAID: list[tuple[str, Sequence[FileRef]]] = []
UPLOADED: dict[str, bytes] = {}


@asynccontextmanager
async def workbench(
    folder: Path, config: WorkerConfig, tokens: Tokens, secrets: Secrets, sandbox: Sandbox = NO_SANDBOX
) -> AsyncGenerator[Workbench]:
    """What it says and uploads is in SAID and UPLOADED."""

    async def say(turn: int, id: str, text: str, files: Sequence[FileRef]) -> None:
        SAID.append((text, files))

    async def upload(filename: str, content_type: str, content: bytes) -> FileRef:
        name = hashlib.sha256(content).hexdigest()
        UPLOADED[name] = content
        return FileRef(name=name, filename=filename, content_type=content_type, size=len(content))

    SAID.clear()
    UPLOADED.clear()
    outputs, programs = Outputs(folder / "outputs"), Outputs(folder / "programs")
    background, spare = Background(outputs, secrets), process.Spare()
    bench = Workbench(
        *(config, folder, "http://x/sessions/s1", secrets, tokens, say, upload),
        *(sandbox, outputs, programs, background),
        spare=spare,
    ).prepared()
    spare.prepare(bench.setting(folder))
    yield bench
    await spare.close()
    await background.stop_all("ended with the test")
    left = process.marked(process.TOOLS_MARK, str(folder))
    await process.kill(sandbox, process.TOOLS_MARK, str(folder))
    assert not left, "tools leave nothing behind"


SECRET = "a-secret-of-the-tests"
TOOLS = Toolset(OWN)
_calls = count(1)


def sandboxed(folder: Path) -> Sandbox:
    """Of bubblewrap; skips the test where that is missing."""
    read_only = folder / "outputs", folder / "programs"
    for each in read_only:
        each.mkdir(parents=True, exist_ok=True)
    sandbox = bubblewrap(folder, read_only)
    if not sandbox.confined:
        pytest.skip(sandbox.note)
    return sandbox


@pytest_asyncio.fixture(params=["free", "sandboxed"])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Workbench]:
    monkeypatch.setenv("SOME_TOKEN", "not for tools")

    async def fetch(repository: str, renew: bool) -> GitHubToken:
        return GitHubToken(token=SECRET)

    folder, secrets = tmp_path / "home", Secrets(SECRET)
    sandbox = sandboxed(folder) if request.param == "sandboxed" else NO_SANDBOX
    async with workbench(folder, configuration(), Tokens(fetch, secrets.add), secrets, sandbox) as bench:
        yield bench


async def use(bench: Workbench, name: str, **arguments: object) -> Output:
    tool, number = TOOLS.get(name), next(_calls)
    assert tool
    item = f"item-{os.getpid()}-{number}"  # processes are ended by it, and other tests run beside these
    return await tool(json.dumps(arguments), bench.for_call(1, item, f"call-{number}"))


@pytest_asyncio.fixture
async def plane() -> AsyncGenerator[ControlPlane]:
    plane = ControlPlane(configuration())
    await plane.start()
    yield plane
    await plane.stop()


@pytest_asyncio.fixture
async def model() -> AsyncGenerator[ScriptedModel]:
    model = ScriptedModel()
    await model.start()
    yield model
    await model.stop()


@pytest_asyncio.fixture
async def machine(tmp_path: Path, plane: ControlPlane, model: ScriptedModel) -> AsyncGenerator[Machine]:
    folder = tmp_path / "machine"
    folder.mkdir()
    machine = Machine(folder, plane, model)
    yield machine
    await machine.stop()
    assert machine.processes() == []
    log = machine.log.read_text() if machine.log.exists() else ""
    print(log)
    assert not any(secret in log for secret in (TOKEN, API_KEY, plane.github_token))


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A machine whose tools run as `nobody`, as they run as `agent` on Azure's."""
    if os.geteuid() != 0 or not shutil.which("sudo"):
        pytest.skip("only root may become another user without a password, and only with sudo")
    for module in (sandbox, process, credentials, disk):
        monkeypatch.setattr(module, "PYTHON", ("/usr/bin/python3", "-I", "-S"))  # ours may be in root's home
    monkeypatch.setenv(sandbox.TOOL_USER, "nobody")
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="nightshift-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest_asyncio.fixture
async def forge(tmp_path: Path) -> AsyncGenerator[Forge]:
    """With the sample repository."""
    forge = Forge(tmp_path / "forge")
    await sample.plant(forge)
    await forge.start()
    yield forge
    while clients:
        clients.pop().close()
    await forge.stop()
