#!/usr/bin/env python3
"""Brings the worker up to date and becomes it. The worker's service runs this, as the user of the worker.

    metadata service  ──user data──►  handed to the worker on its stdin: never in a file, an argument or an environment
    storage account   ──archive────►  releases/<digest>, tried, then named by the link `current`

Whatever goes wrong with an update, the release before runs on. Only a machine that never had one fails, and systemd
tries again. Plain Python 3.12 of Ubuntu, nothing else: it must work when everything else is broken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

# Changed by tests only.
METADATA = os.environ.get("BOOT_METADATA", "http://169.254.169.254")
IMAGE = Path(os.environ.get("BOOT_IMAGE", "/opt/nightshift"))
STATE = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/nightshift"))

METADATA_DEADLINE = 60.0
"""Seconds. The service is there a little after the network is."""
DOWNLOAD_DEADLINE = 60.0
COMMAND_DEADLINE = 240.0
LARGEST_ARCHIVE = 50_000_000
KEPT = 3
"""Releases that stay on the disk, the newest."""


def main() -> None:
    data = user_data()
    try:
        update()
    except Exception as fault:  # whatever it is, the release before is better than none
        if not (STATE / "current").exists():
            raise
        say(f"the update failed, the release before runs on: {type(fault).__name__}: {fault}")
    become_worker(data)


def user_data() -> bytes:
    """The session's own words to its worker, as JSON."""
    text = metadata("instance/compute/userData?api-version=2021-12-13&format=text").strip()
    if not text:
        raise SystemExit("this machine has no user data, so it belongs to no session")
    data = base64.b64decode(text)
    json.loads(data)  # better told here than by a worker that cannot start
    return data


def update() -> None:
    """Leaves `current` as it is if the archive has not changed."""
    current = STATE / "current"
    etag = (current / ".etag").read_text() if (current / ".etag").exists() else ""
    url = (IMAGE / "source").read_text().strip()
    found = fetch(url, etag)
    if found is None:
        say(f"release {current.resolve().name} is the newest")
        return
    archive, etag = found
    release = STATE / "releases" / hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    if not release.exists():
        unpack(archive, release)
    (release / ".etag").write_text(etag)
    release.touch()  # its age says which releases to keep
    switch(current, release)
    archive.unlink()
    say(f"release {release.name} from now on")
    for old in sorted((STATE / "releases").iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def fetch(url: str, etag: str) -> tuple[Path, str] | None:
    """The archive in a file, and its ETag; None if it is the one we have."""
    headers = {"x-ms-version": "2024-11-04"}
    token = json.loads(
        metadata("identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F")
    )
    headers["Authorization"] = f"Bearer {token['access_token']}"
    if etag:
        headers["If-None-Match"] = etag
    path, started = STATE / "download", time.monotonic()
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the image says https
    try:
        with urllib.request.urlopen(request, timeout=20) as answer, path.open("wb") as file:  # noqa: S310
            while piece := answer.read(1 << 20):
                file.write(piece)
                if file.tell() > LARGEST_ARCHIVE:
                    raise ValueError(f"the archive is larger than {LARGEST_ARCHIVE} bytes")
                if time.monotonic() - started > DOWNLOAD_DEADLINE:
                    raise TimeoutError(f"the archive did not come within {DOWNLOAD_DEADLINE:.0f} seconds")
            length = answer.headers.get("Content-Length")
            if length is not None and int(length) != file.tell():
                raise ValueError(f"the archive ended after {file.tell()} of {length} bytes")
            return path, answer.headers.get("ETag", "")
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return None
        raise


def unpack(archive: Path, release: Path) -> None:
    """A whole release that can start, or none: it gets its name last."""
    draft = STATE / "releases" / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(draft, filter="data")  # nothing outside, no devices, no set-uid
    run(libraries(draft), "-c", "import worker.__main__", cwd=draft)
    draft.rename(release)


def libraries(release: Path) -> str:
    """The image's, or if the release wants others, its own. Returns the Python that has them."""
    if (release / "requirements.txt").read_bytes() != (IMAGE / "requirements.txt").read_bytes():
        venv = release / ".venv"
        run("uv", "--quiet", "venv", "--relocatable", "--python", IMAGE / "venv" / "bin" / "python", venv)
        run("uv", "--quiet", "pip", "install", "--python", venv / "bin" / "python", "-r", release / "requirements.txt")
    return python_of(release)


def python_of(release: Path) -> str:
    own = release / ".venv" / "bin" / "python"
    return str(own if own.exists() else IMAGE / "venv" / "bin" / "python")


def switch(link: Path, target: Path) -> None:
    """At no moment is there no link."""
    draft = link.with_name("current.new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target.relative_to(link.parent))
    draft.replace(link)


def run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, timeout=COMMAND_DEADLINE)  # noqa: S603 - all of it is ours


def become_worker(data: bytes) -> None:
    release = (STATE / "current").resolve()
    pipe = os.memfd_create("user-data")
    os.write(pipe, data)
    os.lseek(pipe, 0, os.SEEK_SET)
    os.dup2(pipe, 0)
    environment = os.environ | {"PYTHONPATH": str(release), "PYTHONDONTWRITEBYTECODE": "1"}
    name = str(json.loads(data).get("session_id", "unknown"))
    python = python_of(release)
    # -P: nothing is imported from the present folder, where the agent may put what it likes.
    os.execve(python, [python, "-P", "-m", "worker", "--machine", name], environment)  # noqa: S606


def metadata(path: str) -> str:
    """Asks until it answers. A proxy of the environment must never see this."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"{METADATA}/metadata/{path}", headers={"Metadata": "true"})  # noqa: S310
    deadline = time.monotonic() + METADATA_DEADLINE
    while True:
        try:
            with opener.open(request, timeout=5) as answer:
                return answer.read().decode()
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError) and error.code in (400, 403, 404):
                raise SystemExit(f"the metadata service refuses {path.partition('?')[0]}: {error}") from error
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def say(text: str) -> None:
    print(f"boot: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
