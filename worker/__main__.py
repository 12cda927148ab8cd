"""python -m worker --machine NAME  < user-data.json

Exit code 3: the control plane no longer wants this worker (its generation is stale or its token is void).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from nightshift import telemetry
from nightshift.errors import StaleGeneration, Unauthorized
from nightshift.models import FileRef, ItemKind, MachineSpec, NewItem, WorkerConfig
from worker import attachments, credentials, process
from worker.approvals import Approvals
from worker.attachments import Attachments
from worker.background import Background
from worker.client import ControlPlane
from worker.drafts import Drafts
from worker.guard import Guard
from worker.log import Log
from worker.loop import Agent
from worker.masking import Secrets
from worker.model import ModelServer
from worker.outputs import Outputs
from worker.reports import Reports
from worker.sandbox import Sandbox, choose, programs_folder
from worker.tools import OWN, Toolset, Workbench, repository

logger = logging.getLogger(__name__)

UNWANTED = 3


async def work(data: MachineSpec, folder: Path, secrets: Secrets) -> None:
    """Live for ever. Raises an ExceptionGroup with StaleGeneration or Unauthorized when this worker must exit."""
    with programs_folder(folder) as path:
        await _work(data, folder, secrets, Outputs(path))


async def _work(data: MachineSpec, folder: Path, secrets: Secrets, programs: Outputs) -> None:
    outputs = Outputs(folder / "outputs")
    background, spare, sandbox = Background(outputs, secrets), process.Spare(), None
    plane = ControlPlane(data.api_url, data.token)
    try:
        log = Log(plane, secrets, Attachments(Outputs(folder / attachments.FOLDER), plane.file))
        prepared = _sandbox(folder, outputs, programs)
        library = asyncio.to_thread(importlib.import_module, "openai")  # half a second of types
        sandbox, config, *_ = await asyncio.gather(prepared, plane.session(), log.catch_up(), library)
        guard = Guard(None if sandbox.user else sandbox.limits, folder)
        secrets.add(config.endpoint.api_key)
        for value in config.mcp.secrets.values():
            secrets.add(value)
        _send_telemetry(config)

        async def say(turn: int, id: str, text: str, files: Sequence[FileRef]) -> None:
            kind, generation = ItemKind.ASSISTANT_MESSAGE, config.generation
            await log.append(NewItem(id=id, kind=kind, turn=turn, generation=generation, text=text, files=[*files]))

        tokens = credentials.Tokens(plane.github_token, secrets.add)
        url = f"{data.api_url.rstrip('/')}/sessions/{config.session_id}"
        allows = Approvals(log, secrets, config.generation).allows
        bench = Workbench(
            *(config, folder, url, secrets, tokens, say, plane.put_file),
            *(sandbox, outputs, programs, background, guard, allows),
            told=log.told,
            spare=spare,
        ).prepared()
        spare.prepare(bench.setting(folder))
        await repository.unlock(bench)
        model = ModelServer(config.endpoint, config.session_id, plane.file)
        drafts = Drafts(plane.draft, secrets)
        reports = Reports(plane, log, config)
        logger.info("session %s, generation %d, model %s", config.session_id, config.generation, config.model)
        serving = credentials.serve(
            *(tokens, config.github_host, bench.socket, bench.check_push), shared=sandbox.user is not None
        )
        async with serving, asyncio.TaskGroup() as together:
            together.create_task(reports.started())
            together.create_task(guard.run(process.CALL_MARK))
            together.create_task(log.follow())
            together.create_task(reports.beat())
            together.create_task(drafts.run())
            servers = None
            if config.mcp.servers:
                from worker.mcp import Servers  # a second of imports and 40 MB that most sessions need not have

                servers = Servers(config, bench, log.append)
                together.create_task(servers.run())
            toolset = Toolset([tool for tool in OWN if config.tools is None or tool.name in config.tools], servers)
            together.create_task(Agent(config, log, model, drafts, reports, toolset, bench, folder).run())
    finally:
        await background.close()
        await spare.close()
        if sandbox:
            await process.kill(sandbox, process.TOOLS_MARK, str(folder))
        await plane.close()


async def _sandbox(folder: Path, outputs: Outputs, programs: Outputs) -> Sandbox:
    """Where tools run, with nothing left running that an earlier worker's tools began."""
    sandbox = await asyncio.to_thread(choose, folder, (outputs.path, programs.path))
    logger.log(logging.INFO if sandbox.confined else logging.WARNING, sandbox.note)
    await process.kill(sandbox, process.TOOLS_MARK, str(folder))
    return sandbox


def _send_telemetry(config: WorkerConfig) -> None:
    """Where the machine has an identity, which is where it signs in to the model with it, it signs in here too."""
    os.environ[telemetry.CONNECTION] = config.telemetry
    if config.endpoint.auth == "identity":
        os.environ[telemetry.SIGN_IN] = "Authorization=AAD"
    telemetry.configure("worker")


async def main(data: MachineSpec, secrets: Secrets) -> int:
    life = asyncio.create_task(work(data, Path.cwd(), secrets))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, life.cancel)
    try:
        await life
    except* (StaleGeneration, Unauthorized) as unwanted:
        logger.warning("the control plane no longer wants this worker: %s", unwanted.exceptions[0])
        return_code = UNWANTED
    else:
        return_code = 0
    return return_code


class Masked(logging.Formatter):
    """A log without secrets, tracebacks included."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return self._secrets.mask(super().format(record), found=True)


def start() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--machine", required=True, help="name of this machine, for people who look at processes")
    parser.parse_args()
    data = MachineSpec.model_validate_json(sys.stdin.buffer.read())
    secrets = Secrets(data.token)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Masked(secrets))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("httpx", "httpx2", "openai"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        return asyncio.run(main(data, secrets))
    except asyncio.CancelledError:
        logger.info("told to end")
        return 0


if __name__ == "__main__":
    sys.exit(start())
