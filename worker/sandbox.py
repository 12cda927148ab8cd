"""Where tools run: in a sandbox of bubblewrap, as another user, or as the worker itself. Nothing else wraps a command.

Azure's machines   NIGHTSHIFT_TOOL_USER is set: `sudo` to that user, who owns nothing of the worker
local machines     bubblewrap, if it is there and works: the machine's folder, the system read-only, nothing else
otherwise          as the worker; `note` says why
"""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from nightshift.errors import Permanent
from worker.guard import Limits

TOOL_USER = "NIGHTSHIFT_TOOL_USER"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix", "/sys")
TOOLCHAINS = (
    *(".pyenv", ".rbenv", ".nvm", ".fnm", ".volta", ".asdf", ".sdkman", ".rustup", ".bun", ".deno", ".dotnet"),
    *(".cargo/bin", ".local/bin", ".local/share/uv", ".local/share/mise", ".local/share/pnpm", "go/bin", "go/pkg"),
)
"""In a home: what programs consist of, and where nobody keeps credentials."""
NAMESPACE = "/proc/self/ns/user"
PYTHON = (os.path.realpath(sys.executable), "-I", "-S")
"""Runs programs of worker/inside, which use the standard library alone."""


@dataclass(frozen=True)
class Sandbox:
    note: str
    """For people: whether tools are kept apart from the rest of this machine, and why not."""
    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a tool's environment must say here."""
    user: str | None = None
    """Whose the processes are, if not the worker's: only that user may look at them and end them."""
    limits: Limits | None = None
    """What tools may take of this computer."""

    @property
    def confined(self) -> bool:
        return bool(self.prefix)

    def wrap(self, argv: Sequence[str], cwd: Path) -> list[str]:
        """The command that runs `argv` in `cwd`; both are looked up inside. Its environment is this command's own."""
        inside = ["env", "-C", str(cwd), *(f"{k}={v}" for k, v in self.environment.items()), *argv]
        return [*self.prefix, *(self.limits.wrap(inside) if self.limits else inside)]


def choose(folder: Path, read_only: Sequence[Path]) -> Sandbox:
    """The strictest there is for tools of the machine in `folder`; a sandbox keeps them from changing `read_only`.

    Raises Permanent if a tool user is wanted that cannot be had: what the worker may, no tool should.
    """
    if user := os.environ.get(TOOL_USER):
        return as_user(user)
    return bubblewrap(folder, read_only)


@contextmanager
def programs_folder(folder: Path) -> Generator[Path]:
    """Where the programs lie that tools run and must not change: not where a tool user may write, which is all of the
    machine's folder."""
    if TOOL_USER not in os.environ:
        yield folder / "programs"
        return
    with TemporaryDirectory(prefix="nightshift-") as own:
        os.chmod(own, 0o755)  # noqa: S103 - nothing in it is secret
        yield Path(own)


def as_user(user: str) -> Sandbox:
    """Raises Permanent."""
    prefix = ("sudo", "-n", "-E", "-u", user, "--")
    if fault := _fault([*prefix, "true"]):
        raise Permanent(f"{TOOL_USER} is {user}, but tools cannot run as {user}: {fault}", "Mend /etc/sudoers.d.")
    entry = pwd.getpwnam(user)
    # sudo has its own idea of a path.
    own = {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "PATH": os.environ.get("PATH", os.defpath)}
    return Sandbox(f"Tools run as the user {user}.", prefix, own, user, Limits(counted=True))


def bubblewrap(folder: Path, read_only: Sequence[Path]) -> Sandbox:
    """A sandbox, or none with the reason in its note."""
    limits, program = Limits.of(folder), shutil.which("bwrap")
    if program is None:
        note = "Tools run as you, WITHOUT a sandbox: bwrap is not there (Debian, Fedora: install bubblewrap)."
        return Sandbox(note, limits=limits)
    prefix = (program, *_view(folder, read_only), "--")
    if fault := _fault([*prefix, "env", "true"]):
        return Sandbox(f"Tools run as you, WITHOUT a sandbox: {program} does not work here: {fault}", limits=limits)
    return Sandbox(
        "Tools run in a sandbox (bubblewrap): this machine's folder, the system read-only, no other file of yours.",
        prefix,
        {"HOME": str(folder), "TMPDIR": "/tmp"},  # noqa: S108 - the sandbox's own
        limits=replace(limits, counted=_counts_apart(prefix)),
    )


def _counts_apart(prefix: Sequence[str]) -> bool:
    """Whether the kernel counts a sandbox's processes for themselves: in a user namespace, since Linux 5.14, and never
    for root."""
    version = tuple(int(each) for each in re.findall(r"\d+", platform.release())[:2])
    if os.geteuid() == 0 or version < (5, 14):
        return False
    inside = subprocess.run([*prefix, "readlink", NAMESPACE], stdin=subprocess.DEVNULL, capture_output=True)  # noqa: S603
    return inside.returncode == 0 and os.fsdecode(inside.stdout.strip()) != os.readlink(NAMESPACE)


def notice() -> str:
    """What tools of machines on this computer are kept apart from, before there is a machine."""
    with TemporaryDirectory(prefix="nightshift-") as folder:
        return bubblewrap(Path(folder), ()).note


def _view(folder: Path, read_only: Sequence[Path]) -> Iterator[str]:
    """bwrap's arguments: what is not named here is not there."""
    yield from ("--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev")
    private = folder / "tmp"
    private.mkdir(mode=0o700, exist_ok=True)
    yield from ("--bind", str(private), "/tmp", "--bind", str(private), "/var/tmp")  # noqa: S108 - this machine's own
    home = _home()
    path = [Path(each) for each in os.environ.get("PATH", os.defpath).split(os.pathsep) if each.startswith("/")]
    programs = [*(home / each for each in TOOLCHAINS), *path, Path(sys.prefix), Path(sys.base_prefix)]
    shown: list[Path] = []
    for each in [*map(Path, SYSTEM), *programs]:
        # Never a folder that this machine is in: others are in it, too.
        if not each.exists() or home.is_relative_to(each) or folder.is_relative_to(each):
            continue
        if not any(each.is_relative_to(other) for other in shown):
            shown.append(each)
            if each.is_symlink() and each.parent == Path("/"):  # /bin is usr/bin on most systems
                yield from ("--symlink", os.readlink(each), str(each))
            else:
                yield from ("--ro-bind", str(each), str(each))
    for each in _not_for_everybody(Path("/etc")):
        yield from ("--tmpfs", str(each)) if each.is_dir() else ("--ro-bind", "/dev/null", str(each))
    resolver = Path("/etc/resolv.conf").resolve()
    if resolver.exists() and not resolver.is_relative_to("/etc"):
        yield from ("--ro-bind", str(resolver), str(resolver))
    yield from ("--bind", str(folder), str(folder))
    for each in read_only:
        yield from ("--ro-bind", str(each), str(each))
    yield from ("--remount-ro", "/")


def _home() -> Path:
    """The user's own: the worker's HOME is its machine's folder."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path.home()


def _not_for_everybody(root: Path) -> Iterator[Path]:
    """What this user may read and others may not, such as /etc/shadow for root."""
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            hidden = not mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH)
            if hidden and not stat.S_ISLNK(mode) and os.access(path, os.R_OK):
                yield path
                if name in names:
                    names.remove(name)


def _fault(command: Sequence[str]) -> str | None:
    """Why the command does not work; None if it does."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as fault:
        return str(fault)
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip()[:300] or "no reason given"
