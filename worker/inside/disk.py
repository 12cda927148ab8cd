"""Reads and writes files. The request is one line of JSON on stdin and what is to be written after it; the answer is
the same on stdout. `error` in an answer is for the model.

    read    path, most                        kind, size, sha; then the content
    write   path, undo, overwrite, expected   existed
    undo    path, undo                        existed, was; then what stood there and what stands there now
"""

import fcntl
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

Request = dict[str, Any]
Answer = tuple[dict[str, Any], bytes]


def read(request: Request, _: bytes) -> Answer:
    path = request["path"]
    if os.path.isdir(path):
        return {"kind": "folder"}, b""
    # Not blocking, for a pipe; only a plain file has an end.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return {"error": f"{path} is no plain file."}, b""
        if status.st_size > request["most"]:
            return {"kind": "large", "size": status.st_size}, file.read(4096)
        content = file.read()
    return {"kind": "file", "size": len(content), "sha": _sha(content)}, content


def write(request: Request, content: bytes) -> Answer:
    path = os.path.realpath(request["path"])  # a symbolic link stays one
    if os.path.isdir(path):
        return {"error": f"{path} is a folder."}, b""
    if os.path.exists(path) and not os.path.isfile(path):
        return {"error": f"{path} is no plain file."}, b""
    with _one_at_a_time(request["undo"]):
        before = _content(path)
        if before is not None and not request["overwrite"]:
            return {"error": f"{path} exists. Use edit, or say overwrite."}, b""
        if request["expected"] and (before is None or _sha(before) != request["expected"]):
            return {"error": f"{path} was changed by somebody else meanwhile. View it again."}, b""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _keep(request["undo"], path, before, content)
        _replace(path, content)
    return {"existed": before is not None}, b""


def undo(request: Request, _: bytes) -> Answer:
    path = os.path.realpath(request["path"])
    kept = _kept(request["undo"], path)
    try:
        with open(kept + ".json") as file:
            note = json.load(file)
    except FileNotFoundError:
        return {"error": f"There is no edit of {path} to undo: only the last one of a file can be."}, b""
    now = _content(path)
    if now is None or _sha(now) != note["sha"]:
        return {"error": f"{path} has been changed since its last edit, so that is not undone. Edit it."}, b""
    before = _content(kept) if note["existed"] else None
    if before is None:
        os.unlink(path)
    else:
        _replace(path, before)
    os.unlink(kept + ".json")
    return {"existed": before is not None, "was": len(now)}, now + (before or b"")


@contextmanager
def _one_at_a_time(folder: str) -> Generator[None]:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _replace(path: str, content: bytes) -> None:
    """All or nothing, with the mode the file had."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mode = 0o666 & ~_umask()
    handle, draft = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)[:50]}.")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _keep(folder: str, path: str, before: bytes | None, after: bytes) -> None:
    kept = _kept(folder, path)
    if before is not None:
        with open(kept, "wb") as file:
            file.write(before)
    with open(kept + ".json", "w") as file:
        json.dump({"path": path, "existed": before is not None, "sha": _sha(after)}, file)


def _kept(folder: str, path: str) -> str:
    return os.path.join(folder, hashlib.sha256(os.fsencode(path)).hexdigest()[:32])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    request = json.loads(sys.stdin.buffer.readline())
    does = {"read": read, "write": write, "undo": undo}[request["do"]]
    try:
        answer, content = does(request, sys.stdin.buffer.read())
    except OSError as fault:
        answer, content = {"error": f"{fault.filename or request['path']}: {fault.strerror}."}, b""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + content)


if __name__ == "__main__":
    main()
