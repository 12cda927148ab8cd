"""`python -m demo.forge --root DIR --port N`: serves until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from demo import sample
from demo.forge import Forge


async def serve(root: Path, host: str, port: int, login: str, with_sample: bool) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    forge = Forge(root, host, port)
    if with_sample:
        await sample.plant(forge)
    await forge.start()
    try:
        print(f"url {forge.url}")
        print(f"token file {token_file(forge, root / 'token', login)}", flush=True)
        await stopped.wait()
    finally:
        await forge.stop()


def token_file(forge: Forge, path: Path, login: str) -> Path:
    """A read-write token for everything, only for this user's eyes; the one of the last run if there is one."""
    if not (path.exists() and forge.state.token(path.read_text().strip())):
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)  # before anything is in it
        path.write_text(forge.add_token(login) + "\n")
    return path.resolve()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.forge", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the repositories and records")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (the default)")
    parser.add_argument("--login", default="nightshift", help="whom the token belongs to")
    parser.add_argument("--sample", action="store_true", help="create the sample repository and its issue")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(arguments.root, arguments.host, arguments.port, arguments.login, arguments.sample))


if __name__ == "__main__":
    main()
