"""Every setting, read once from the environment (app settings in Azure, local.settings.json or CLI locally)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from nightshift.errors import Permanent

PREFIX = "NIGHTSHIFT_"


@dataclass(frozen=True)
class Deadlines:
    """How long a session may stay in a phase. In the environment: seconds, as NIGHTSHIFT_IDLE=1800."""

    idle: timedelta = timedelta(minutes=30)
    """Waiting for the user before the machine is deallocated."""
    retention: timedelta = timedelta(days=7)
    """Stopped or failed before machine and disk are deleted; the conversation stays."""
    start: timedelta = timedelta(minutes=10)
    """From the start of a machine to its worker's first report."""
    silence: timedelta = timedelta(minutes=3)
    """A worker not heard of for this long is looked at and restarted."""
    poll: timedelta = timedelta(seconds=5)
    """Between two looks at a machine that is on its way."""
    stop: timedelta = timedelta(minutes=5)
    """A machine that does not stop or go away within this is asked again."""
    machine_age: timedelta = timedelta(hours=12)
    """No start of a machine lives longer, whatever it does."""
    tries: int = 3
    """Starts in a row that may fail before a person is told."""


@dataclass(frozen=True)
class Settings:
    """Where things are and what the defaults are. Secrets are kept out of repr."""

    data_dir: Path = Path("var")
    public_url: str = "http://127.0.0.1:7071"
    """Where people and workers reach the app."""
    local: bool = False
    """One machine, loopback only: no key is asked of loopback callers."""
    signing_key: str = field(default="", repr=False)
    """Signs worker tokens. At least 32 characters."""
    model: str = "gpt-5.2"
    max_steps: int = 200
    common_prompt: str = ""
    openai_base_url: str | None = None
    openai_api_key: str = field(default="", repr=False)
    github_api_url: str = "https://api.github.com"
    github_token: str = field(default="", repr=False)
    pubsub_connection: str = field(default="", repr=False)
    prices: Path | None = None
    """A TOML file laid over the built-in price table."""
    deadlines: Deadlines = Deadlines()

    @property
    def github_host(self) -> str:
        """scheme://host[:port] of git over HTTP: github.com has its API on a host of its own, others share one."""
        url = urlsplit(self.github_api_url)
        host = "github.com" if url.netloc == "api.github.com" else url.netloc
        return f"{url.scheme}://{host}"

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises Permanent naming the setting that is wrong."""

        def text(name: str, default: str = "") -> str:
            return environment.get(name) or default

        signing_key = text(PREFIX + "SIGNING_KEY")
        if len(signing_key) < 32:
            raise Permanent(
                "NIGHTSHIFT_SIGNING_KEY is missing or shorter than 32 characters",
                "Set it to a long random value, for instance the output of `openssl rand -hex 32`.",
            )
        prices = text(PREFIX + "PRICES")
        return cls(
            data_dir=Path(text(PREFIX + "DATA_DIR", str(cls.data_dir))).absolute(),
            public_url=text(PREFIX + "PUBLIC_URL", cls.public_url).rstrip("/"),
            local=text(PREFIX + "LOCAL") == "1",
            signing_key=signing_key,
            model=text(PREFIX + "MODEL", cls.model),
            max_steps=int(_number(environment, PREFIX + "MAX_STEPS", cls.max_steps)),
            common_prompt=text(PREFIX + "COMMON_PROMPT"),
            openai_base_url=environment.get("OPENAI_BASE_URL") or None,
            openai_api_key=text("OPENAI_API_KEY"),
            github_api_url=text("GITHUB_API_URL", cls.github_api_url).rstrip("/"),
            github_token=text("GITHUB_TOKEN"),
            pubsub_connection=text("WebPubSubConnectionString"),
            prices=Path(prices) if prices else None,
            deadlines=_deadlines(environment),
        )


def _deadlines(environment: Mapping[str, str]) -> Deadlines:
    values: dict[str, timedelta | int] = {}
    for each in fields(Deadlines):
        default = getattr(Deadlines, each.name)
        name = PREFIX + each.name.upper()
        if isinstance(default, timedelta):
            values[each.name] = timedelta(seconds=_number(environment, name, default.total_seconds()))
        else:
            values[each.name] = int(_number(environment, name, default))
    return Deadlines(**values)  # type: ignore[arg-type]  # the loop above follows the fields' own types


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1
    if value <= 0:
        raise Permanent(f"{name} is '{text}'", "Give a number greater than 0 (times are in seconds).")
    return value
