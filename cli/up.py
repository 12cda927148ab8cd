"""`nightshift up`: the whole of Nightshift on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from embedded.host import Host
from nightshift.models import Power
from nightshift.services import Services, services
from nightshift.settings import Settings
from worker.sandbox import notice

REPOSITORY = Path(__file__).resolve().parents[1]

LOCAL_DEFAULTS = {
    "NIGHTSHIFT_LOCAL": "1",
    "NIGHTSHIFT_POLL": "0.5",  # a process starts in a second, a VM in a minute
    "NIGHTSHIFT_START": "60",
    "NIGHTSHIFT_SILENCE": "15",
    "NIGHTSHIFT_STOP": "20",
}


def log_to_terminal(level: int) -> None:
    """Log to stderr from `level` on, without one line of the SDK that says nothing."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        # A cancelled timer that fires all the same is ignored, as it should be, but with a warning each time.
        handler.addFilter(lambda record: "unexpected timerFired" not in record.getMessage())


def prepare_environment(port: int, data_dir: Path) -> None:
    """Settings of a local run, where the environment does not say otherwise."""
    os.environ.setdefault("NIGHTSHIFT_DATA_DIR", str(data_dir))
    os.environ.setdefault("NIGHTSHIFT_PUBLIC_URL", f"http://127.0.0.1:{port}")
    for name, value in LOCAL_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if "NIGHTSHIFT_SIGNING_KEY" not in os.environ:
        os.environ["NIGHTSHIFT_SIGNING_KEY"] = _kept_key(Path(os.environ["NIGHTSHIFT_DATA_DIR"]))


@asynccontextmanager
async def running(port: int) -> AsyncGenerator[Host]:
    """The host, serving; afterwards no machine of this run is left on this computer, nor a connection of the app."""
    host = Host(REPOSITORY, port=port, hub=Settings.read().data_dir / "hub.db")
    await host.start()
    try:
        yield host
    finally:
        await host.stop()
        try:
            await stop_machines(services())
        finally:
            await services().close()
            services.cache_clear()


async def stop_machines(built: Services) -> None:
    """Deallocate every local machine: their sessions go on with the next message or the next `up`."""
    if built.settings.machines is not None:
        return  # in Azure they are not this computer's, and may be another host's
    for machine in await built.machines.list_all():
        if machine.power is not Power.DEALLOCATED:
            await built.machines.begin_deallocate(machine.session_id)


async def serve(port: int) -> None:
    """Until SIGINT or SIGTERM. Raises embedded.StartError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    async with running(port) as host:
        print(f"Nightshift is on {host.url}  (Ctrl-C stops it)\n{notice()}", flush=True)
        await stop.wait()
        print("Stopping ...", flush=True)


def _kept_key(data_dir: Path) -> str:
    """The signing key of this data folder, made on first use, readable by its owner only."""
    path = data_dir / "signing_key"
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass  # made by an earlier run
    return path.read_text("utf-8").strip()
