"""`python -m embedded start --app-dir DIR --port 7071`: serve an app folder until SIGINT or SIGTERM."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading

from embedded.errors import StartError
from embedded.host import ADMIN_KEY, Host

STUCK_SECONDS = 15.0  # two drains of 3 s are part of it


def main() -> int:
    parser = argparse.ArgumentParser(prog="embedded", description="A one-machine host for Azure Functions apps.")
    commands = parser.add_subparsers(required=True)
    start = commands.add_parser("start", help="serve an app folder")
    start.add_argument("--app-dir", default=".", help="the folder with function_app.py")
    start.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    start.add_argument("--port", type=int, default=7071, help="0 takes a free port")
    start.add_argument("--admin-key", help=f"shows in the process list; better set {ADMIN_KEY}; generated when missing")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("azure", "durabletask", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    host = Host(options.app_dir, options.host, options.port, admin_key=options.admin_key)
    try:
        asyncio.run(_serve(host))
    except StartError as error:
        if isinstance(error.__cause__, Exception):
            logging.getLogger("embedded").error("cannot start", exc_info=error.__cause__)
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
    _exit_even_if_stuck()
    await host.stop()


def _exit_even_if_stuck() -> None:
    """Python waits for its threads, but a synchronous function that hangs must not keep the process."""

    def end() -> None:
        logging.getLogger("embedded").warning("a function did not end within %d s of the stop", STUCK_SECONDS)
        logging.shutdown()
        os._exit(0)

    timer = threading.Timer(STUCK_SECONDS, end)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main())
