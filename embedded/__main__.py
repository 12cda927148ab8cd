"""`python -m embedded start --app-dir DIR --port 7071`: serve an app folder until SIGINT or SIGTERM."""

import argparse
import asyncio
import faulthandler
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from embedded.errors import StartError
from embedded.host import ADMIN_KEY, Host

STUCK_SECONDS = 20  # three drains of 3 s are part of it
POLL_SECONDS = 0.5
WATCHED = (".py", "host.json", "local.settings.json")
IGNORED = (".", "__", "node_modules", "site-packages")


def main() -> int:
    parser = argparse.ArgumentParser(prog="embedded", description="A one-machine host for Azure Functions apps.")
    start = parser.add_subparsers(required=True).add_parser("start", help="serve an app folder")
    start.add_argument("--app-dir", type=Path, default=Path(), help="the folder with function_app.py")
    start.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    start.add_argument("--port", type=int, default=7071, help="0 takes a free port")
    start.add_argument("--hub", type=Path, metavar="FILE", help="keeps orchestrations; without, they end with the host")
    start.add_argument("--reload", action="store_true", help="start again when a file of the app changes")
    start.add_argument("--admin-key", help=f"shows in the process list; better set {ADMIN_KEY}; generated when missing")
    options = parser.parse_args()
    if options.reload:
        os.environ.setdefault(ADMIN_KEY, secrets.token_urlsafe(32))  # the same after each start
        return _reload(options.app_dir, [argument for argument in sys.argv[1:] if argument != "--reload"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("azure", "durabletask", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    host = Host(options.app_dir, options.host, options.port, admin_key=options.admin_key, hub=options.hub)
    try:
        asyncio.run(_serve(host))
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(host: Host) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    await host.start()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    print(f"Functions:\n{host.describe()}\nListening on {host.url}", flush=True)
    await stop.wait()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(each)  # a second one ends the process at once
    print("Stopping", flush=True)
    # Python waits for its threads, but a synchronous function that hangs must not keep the process: this shows where.
    faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
    await host.stop()


def _reload(app_dir: Path, arguments: list[str]) -> int:
    """Serve in a child process. One that ends by itself has said why; the next change starts another."""
    stopping = list[int]()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: stopping.append(number))
    while not stopping:
        seen = _modified(app_dir)
        # Ctrl-C goes to a whole group, and a second signal ends a host at once: the child has a group of its own.
        child = subprocess.Popen([sys.executable, "-m", "embedded", *arguments], process_group=0)  # noqa: S603
        while not stopping and _modified(app_dir) == seen:
            time.sleep(POLL_SECONDS)
        child.terminate()
        child.wait()
    return 0


def _modified(app_dir: Path) -> dict[Path, int]:
    """The app's files, and when each was changed."""
    found: dict[Path, int] = {}
    for folder, folders, names in app_dir.walk():
        folders[:] = [each for each in folders if not each.startswith(IGNORED)]
        for file in (folder / name for name in names if name.endswith(WATCHED)):
            with suppress(FileNotFoundError):  # editors replace files
                found[file] = file.stat().st_mtime_ns
    return found


if __name__ == "__main__":
    sys.exit(main())
