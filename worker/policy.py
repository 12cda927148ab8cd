"""Which actions want the user's yes. Pure: what is asked for and a few facts in, a question or None out.

It guards against accidents of a well-meaning agent. What a hostile command could reach is bounded by the sandbox and by
what the token may do, not by this: a command can be hidden from any reader of its text.
"""

from __future__ import annotations

import hashlib
import json
import os.path
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from nightshift.models import Approval, McpServer
from worker import bash
from worker.bash import Command, Words
from worker.masking import storable

LONGEST_ACTION = 3500
THROWN_AWAY = ("/tmp", "/var/tmp")  # noqa: S108 - nothing is written here

CREDENTIALS = re.compile(
    r"/\.(ssh|aws|azure|gnupg|kube)(/|$)|/\.(netrc|git-credentials|npmrc|pypirc|pgpass)$|/\.docker/config\.json$"
    r"|/\.config/(gh|gcloud|git/credentials)(/|$)|^/etc/(shadow|sudoers)|^/proc/[^/]+/environ$|/\.env(\.[^/]*)?$"
)
NO_SECRET = re.compile(r"/known_hosts$|\.pub$|/\.env\.(example|sample|template)$")
SECRET_NAME = re.compile(r"\$\{?\w*(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|CREDENTIAL)\w*", re.IGNORECASE)
IDENTITY = ("169.254.169.254", "metadata.google.internal", "168.63.129.16")
"""Where a cloud's machine gets its own credentials."""
FETCHERS = frozenset({"curl", "wget", "fetch", "aria2c", "http", "https"})
INTERPRETERS = bash.SHELLS | {"python", "python3", "node", "perl", "ruby", "php"}
BY_WORDS: dict[Words, str] = {
    ("git", "credential", "fill"): "prints the token that git uses",
    ("gh", "auth", "token"): "prints a token",
    ("az", "account", "get-access-token"): "prints a token",
    ("gh", "pr", "merge"): "merges a pull request",
    ("gh", "pr", "review"): "reviews a pull request in your name",
    ("gh", "repo", "delete"): "deletes a repository",
}
CI_FILES = re.compile(
    r"^\.github/(workflows|actions)/|^\.(circleci|buildkite|azure-pipelines|azuredevops)/|(^|/)(\.gitlab-ci\.yml|Jenkinsfile)$"
    r"|^(\.travis\.yml|\.drone\.yml|azure-pipelines[^/]*\.ya?ml|bitbucket-pipelines\.yml|appveyor\.yml)$"
)


@dataclass(frozen=True)
class Place:
    """Where a tool acts; all absolute."""

    cwd: str
    home: str
    folder: str
    """The machine's own folder."""
    confined: bool = False
    """Tools are kept apart from whoever runs the worker: no command can become root."""

    @property
    def workspace(self) -> str:
        """Where repositories are: what is in them is the agent's work."""
        return f"{self.folder}/workspace"


@dataclass(frozen=True)
class Update:
    """One ref that a push would change."""

    ref: str
    """At the other end, in full."""
    old: str = ""
    """Empty: it does not exist yet."""
    new: str = ""
    """Empty: it is to be deleted."""
    forced: bool = False
    """Commits that are published would be lost."""
    files: tuple[str, ...] = ()
    """Changed by the commits that the other end has not."""


@dataclass(frozen=True)
class Push:
    url: str
    default: str
    """The full ref of the default branch."""
    updates: tuple[Update, ...]


def judge(tool: str, arguments: Mapping[str, Any], place: Place) -> Approval | None:
    """What must be asked before this call is made."""
    if isinstance(script := arguments.get("command"), str):
        script = script.strip()
        where = "Run" if tool == "shell" else f"Run with {tool}"
        return _question(f"{where} in {place.cwd}:\n\n{script}", _of_script(script, place))
    if tool == "background" and arguments["action"] == "input":  # perhaps a shell reads it
        typed = str(arguments["text"] or "").strip()
        return _question(f"Type into {arguments['id']}:\n\n{typed}", _of_script(typed, place))
    if isinstance(path := arguments.get("path"), str) and _holds_credentials(path, place):
        return _question(f"{tool} {_absolute(path, place)}", ["opens what may hold credentials"])
    return None


def judge_mcp(
    server: str, entry: McpServer, tool: str, *, destructive: bool, arguments: Mapping[str, Any], place: Place
) -> Approval | None:
    """What must be asked before a server's tool is called.

    `destructive` is the server's own word, which nobody vouches for: it can add a question and take none away. Only the
    configuration can. One yes to a destructive tool is for the session: an agent that edits files by a server would
    otherwise ask at each of them.
    """
    if tool in entry.allow:
        return None
    reasons = ["is a tool that is to be asked for"] if tool in entry.ask else []
    if entry.command:  # it acts on this machine, as the shell does
        reasons += [
            *_of_script(str(arguments.get("command", "")), place),
            *(
                f"opens {each}, which may hold credentials"
                for each in _strings(arguments)
                if _holds_credentials(each, place)
            ),
        ]
    if reasons:
        given = json.dumps(arguments, ensure_ascii=False, indent=1)
        return _question(f"Call {tool} of the MCP server {server}:\n\n{given}", reasons)
    if destructive:
        action = f"Use {tool} of the MCP server {server}, now and later in this session"
        asked = _question(action, ["says of itself that it may change or delete what is there"])
        return asked and asked.model_copy(update={"lasting": True})
    return None


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list() | tuple():
            for each in cast("list[Any]", value):
                yield from _strings(each)
        case dict():
            yield from _strings([*cast("dict[str, Any]", value).values()])
        case _:
            pass


def judge_push(push: Push) -> Approval | None:
    """What must be asked before this is pushed."""
    reasons: list[str] = []
    lines: list[str] = []
    for update in push.updates:
        name = re.sub("^refs/(heads|tags)/", "", update.ref)
        ci = [file for file in update.files if CI_FILES.search(file)]
        if not update.new:
            reasons.append(f"deletes {name}")
        elif update.ref.startswith("refs/tags/"):
            reasons.append(f"{'moves' if update.old else 'publishes'} the tag {name}")
        elif update.forced:
            reasons.append(f"rewrites what is published on {name}")
        if update.new and update.ref == push.default and update.old:  # the first push to an empty repository may
            reasons.append(f"goes to the default branch, {name}")
        if ci:
            reasons.append(f"changes what runs in CI: {', '.join(ci[:5])}")
        lines.append(f"{name}: {update.old[:12] or 'new'} -> {update.new[:12] or 'deleted'}")
    return _question(f"Push to {push.url}:\n\n" + "\n".join(lines), reasons)


def _question(action: str, reasons: list[str]) -> Approval | None:
    if not reasons:
        return None
    action, reasons = storable(action), storable(reasons)
    if len(action) > LONGEST_ACTION:  # the yes is for all of it, so all of it is in what is compared
        digest = hashlib.sha256(action.encode()).hexdigest()
        action = f"{action[:LONGEST_ACTION]}\n[... {len(action) - LONGEST_ACTION} more, SHA-256 {digest}]"
    return Approval(action=action, reason=("It " + "; it ".join(dict.fromkeys(reasons)))[:1000] + ".")


def _of_script(script: str, place: Place) -> list[str]:
    commands = list(bash.commands(script))
    reasons = [reason for command in commands for reason in _reasons(command, place)]
    return [*reasons, *_fetched_then_run(commands)]


def _reasons(command: Command, place: Place) -> Iterator[str]:
    words = command.words
    # In a sandbox (no new privileges) and for the tools' own user (not in sudoers) it is refused at once, and the agent
    # goes another way: a question would end its turn for a yes that changes nothing.
    if not place.confined and {"sudo", "doas"} & {*command.prefixes}:
        yield "runs with the rights of root"
    for start, reason in BY_WORDS.items():
        if _plain(words)[: len(start)] == start:
            yield reason
    if command.name == "git":
        yield from _unchecked_push(words)
    if _runs_what_it_reads(words) and any(_fetches(other) for other in command.fed_by):
        yield "runs what it fetches from the network"
    if command.name in INTERPRETERS | {"eval", "source", "."} and any(_fetches(other) for other in command.given):
        yield "runs what it fetches from the network"
    if command.name in ("echo", "printf", "printenv") and SECRET_NAME.search(
        " ".join(words) if command.name != "printenv" else " $".join(words)
    ):
        yield "prints a secret of the environment"
    if any(host in word for word in words for host in IDENTITY):
        yield "asks for the machine's own credentials"
    for word in (*words[1:], *command.files):
        if _holds_credentials(word, place):
            yield f"opens {word}, which may hold credentials"
    if command.name == "rm" and any(re.fullmatch(r"-\w*[rR]\w*|--recursive", word) for word in words):
        for word in words[1:]:
            if not word.startswith("-") and _far(word, place):
                yield f"deletes {word}, which is outside the workspace"


def _plain(words: Words) -> Words:
    """Without options: `git -C x push -f` is git push, if its options' own words are left out."""
    plain: list[str] = [os.path.basename(words[0])]
    rest = iter(words[1:])
    for word in rest:
        if word in ("-C", "-c", "--git-dir", "--work-tree", "-R", "--repo"):
            next(rest, None)
        elif not word.startswith("-"):
            plain.append(word)
    return tuple(plain)


def _unchecked_push(words: Words) -> Iterator[str]:
    """Pushes are judged by what they change (worker/pushes.py), but for those that go round it."""
    if _plain(words)[1:2] != ("push",):
        return
    if "--no-verify" in words or any("core.hookspath" in word.lower() for word in words):
        yield "pushes without being checked"
    if "/" in words[0]:
        yield "pushes without being checked (call git by its name alone)"


def _fetches(words: Words) -> bool:
    return bool(words) and os.path.basename(words[0]) in FETCHERS


def _runs_what_it_reads(words: Words) -> bool:
    name = re.sub(r"[\d.]+$", "", os.path.basename(words[0]))
    if name not in INTERPRETERS:
        return False
    if name in bash.SHELLS:
        if any(word.startswith("-") and not word.startswith("--") and "c" in word for word in words[1:]):
            return False
        return "-s" in words or all(word.startswith("-") for word in words[1:])
    return len(words) == 1 or words[1] == "-"


def _fetched_then_run(commands: list[Command]) -> Iterator[str]:
    fetched: set[str] = set()
    for command in commands:
        words = command.words
        if _fetches(words):
            fetched |= {os.path.normpath(name) for name in _written(command)}
            continue
        runs = words[0]
        if command.name in INTERPRETERS | {"source", "."}:
            runs = next((word for word in words[1:] if not word.startswith("-")), "")
        if os.path.normpath(runs) in fetched:
            yield "runs what it fetches from the network"


def _written(command: Command) -> Iterator[str]:
    yield from command.files
    words = command.words
    for at, word in enumerate(words):
        if word in ("-o", "--output", "--output-document") or (word == "-O" and command.name == "wget"):
            yield from words[at + 1 : at + 2]
        elif re.match("https?://", word) and (command.name == "wget" or {"-O", "--remote-name"} & {*words}):
            yield os.path.basename(word.partition("?")[0])


def _absolute(word: str, place: Place) -> str:
    word = re.sub(r"^(~|\$HOME)(?=/|$)", lambda _: place.home, word)
    return os.path.normpath(os.path.join(place.cwd, word))


def _holds_credentials(word: str, place: Place) -> bool:
    for part in re.split(r"[=@]", word):
        path = _absolute(part, place)
        inside = f"{path}/".startswith(f"{place.workspace}/")
        if part and " " not in part and not inside and CREDENTIALS.search(path) and not NO_SECRET.search(path):
            return True
    return False


def _far(word: str, place: Place) -> bool:
    """Neither the agent's own work nor something to throw away. What a variable holds is not known."""
    path = _absolute(word, place)
    if "$" in path:
        return path.startswith("/$") and path.count("/") == 1
    return not any(path.startswith(f"{near}/") for near in (place.folder, f"{place.home}/.cache", *THROWN_AWAY))
