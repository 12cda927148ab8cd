"""Every setting, read once from the environment (app settings in Azure, local.settings.json or CLI locally)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from nightshift import mcp
from nightshift.errors import Permanent, Unprocessable
from nightshift.models import Mcp, ModelEndpoint

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
class Entra:
    """The tenant whose people and programs may come in, and the app registration that stands for Nightshift in it."""

    tenant: str
    client_id: str
    authority: str = "https://login.microsoftonline.com"
    role_required: bool = True
    """Whether a person needs an app role. Without one, whoever signs in is a user."""


@dataclass(frozen=True)
class CloudStorage:
    """Where Azure keeps conversations and files. Both are there before the app: it may not make them."""

    cosmos_endpoint: str
    """https://ACCOUNT.documents.azure.com"""
    blobs_url: str
    """https://ACCOUNT.blob.core.windows.net/CONTAINER"""
    cosmos_database: str = "nightshift"


@dataclass(frozen=True)
class VirtualMachines:
    """What machines in Azure are made of. Ids are whole resource ids, as Bicep and the Portal give them."""

    resource_group: str
    """Id of the group that holds this deployment's machines and nothing else: the janitor sweeps it."""
    location: str
    subnet: str
    image: str
    """Id of a gallery's image definition (its latest version is taken) or of one version of it."""
    identity: str
    """Id of the machines' user-assigned identity. It needs no right in the resource manager."""
    sizes: tuple[str, ...] = ("Standard_D4as_v5", "Standard_D4s_v5", "Standard_D4s_v4")
    """In order of preference: the next is taken where one has no capacity or quota. All with a local disk, or none:
    a machine cannot be moved between the two."""
    zones: tuple[str, ...] = ()
    """Availability zones to try, in order. None: Azure chooses."""
    spot: bool = False
    disk_gb: int = 64
    ssh_key: str = ""
    """Public key of a person who may log in. None: a key is made and its private half thrown away."""
    arm_url: str = "https://management.azure.com"


@dataclass(frozen=True)
class GitHubApp:
    """The App of yours that agents act as. It is installed where they may work."""

    id: str
    private_key: str = field(repr=False)
    """PEM."""


@dataclass(frozen=True)
class Webhook:
    """A program of the operator's that is told what the owners of sessions are told."""

    url: str
    secret: str = field(repr=False)
    """What is sent is signed with it."""


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
    entra: Entra | None = None
    """Access tokens are taken from this tenant; None: API keys only."""
    sign_in: bool = False
    """App Service authentication stands before this app, so that nobody else can have written its principal header."""
    model: str = "gpt-5.2"
    max_steps: int = 200
    """Model calls of one turn."""
    turn_seconds: float = 4 * 3600.0
    """Working time of one turn."""
    session_steps: int = 1000
    """Model calls of a session; then it stops and asks, and what its user says next gives it as many again."""
    session_seconds: float = 24 * 3600.0
    """The same of its working time."""
    budget_usd: float | None = None
    """What a session may cost that names no budget of its own; None: whatever it takes."""
    context_window: int | None = None
    """Input tokens that every model takes, whatever the price table says."""
    common_prompt: str = ""
    endpoint: ModelEndpoint = field(default_factory=ModelEndpoint)
    """Where the model is. Workers are told by `GET /api/worker/session`."""
    mcp: Mcp = field(default_factory=Mcp)
    """Servers of the Model Context Protocol for every agent. In the environment: JSON, or the path of a file."""
    github_api_url: str = "https://api.github.com"
    github_token: str = field(default="", repr=False)
    """For all sessions, where there is no App."""
    github_app: GitHubApp | None = None
    pubsub_connection: str = field(default="", repr=False)
    """Of the embedded host's live channel."""
    pubsub_endpoint: str = ""
    """Of Web PubSub, where the app's identity opens it."""
    push_services: tuple[str, ...] = (
        "https://fcm.googleapis.com",
        "https://*.push.services.mozilla.com",
        "https://*.notify.windows.com",
        "https://*.push.apple.com",
    )
    """Where browsers may have their notifications from. In the environment: origins to add, separated by commas."""
    webhook: Webhook | None = None
    telemetry: str = ""
    """Connection string of Application Insights, for the app and its workers."""
    storage: CloudStorage | None = None
    """None: SQLite and files in `data_dir`."""
    machines: VirtualMachines | None = None
    """None: process trees on this computer, or containers of `container_pool`."""
    container_pool: str = ""
    """Management endpoint of a session pool (Azure Container Apps) whose containers are the machines."""
    prices: Path | None = None
    """A TOML file laid over the built-in price table."""
    deployments: Mapping[str, str] = field(default_factory=dict[str, str])
    """Which model each Azure deployment is of, where its name does not say: for the price."""
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
        if len(signing_key) < 32 or signing_key.startswith("@Microsoft.KeyVault("):  # a reference that was not resolved
            raise Permanent(
                "NIGHTSHIFT_SIGNING_KEY is missing, shorter than 32 characters or an unresolved reference",
                "Set it to a long random value, for instance the output of `openssl rand -hex 32`.",
            )
        prices = text(PREFIX + "PRICES")
        return cls(
            data_dir=Path(text(PREFIX + "DATA_DIR", str(cls.data_dir))).absolute(),
            public_url=text(PREFIX + "PUBLIC_URL", cls.public_url).rstrip("/"),
            local=text(PREFIX + "LOCAL") == "1",
            signing_key=signing_key,
            entra=(entra := _entra(environment)),
            sign_in=_sign_in(environment, entra),
            model=text(PREFIX + "MODEL", cls.model),
            max_steps=int(_number(environment, PREFIX + "MAX_STEPS", cls.max_steps)),
            turn_seconds=_number(environment, PREFIX + "TURN_SECONDS", cls.turn_seconds),
            session_steps=int(_number(environment, PREFIX + "SESSION_STEPS", cls.session_steps)),
            session_seconds=_number(environment, PREFIX + "SESSION_SECONDS", cls.session_seconds),
            budget_usd=_number(environment, PREFIX + "BUDGET", 0) or None,
            context_window=int(_number(environment, PREFIX + "CONTEXT_WINDOW", 0)) or None,
            common_prompt=text(PREFIX + "COMMON_PROMPT"),
            endpoint=_endpoint(environment),
            mcp=_mcp(environment),
            github_api_url=text("GITHUB_API_URL", cls.github_api_url).rstrip("/"),
            github_token=text("GITHUB_TOKEN"),
            github_app=_github_app(environment),
            pubsub_connection=text("WebPubSubConnectionString"),
            pubsub_endpoint=_https(environment, PREFIX + "PUBSUB_ENDPOINT"),
            push_services=cls.push_services + _push_services(environment),
            webhook=_webhook(environment),
            telemetry=text("APPLICATIONINSIGHTS_CONNECTION_STRING"),
            storage=_storage(environment),
            machines=(machines := _virtual_machines(environment)),
            container_pool=_container_pool(environment, machines),
            prices=Path(prices) if prices else None,
            deployments=_deployments(environment),
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


def _endpoint(environment: Mapping[str, str]) -> ModelEndpoint:
    """Without a key a model account of Azure is signed in to, as the template deploys it."""
    url, key = environment.get("OPENAI_BASE_URL") or None, environment.get("OPENAI_API_KEY", "")
    at_azure = (urlsplit(url or "").hostname or "").endswith(".azure.com")
    try:
        return ModelEndpoint.model_validate(
            {
                "base_url": url,
                "api_key": key,
                "auth": environment.get(PREFIX + "MODEL_AUTH") or ("identity" if at_azure and not key else "key"),
                "api": environment.get(PREFIX + "MODEL_API") or "responses",
            }
        )
    except ValueError as error:
        raise Permanent(
            "NIGHTSHIFT_MODEL_AUTH or NIGHTSHIFT_MODEL_API is not a word for it",
            "NIGHTSHIFT_MODEL_AUTH is 'key' or 'identity', NIGHTSHIFT_MODEL_API 'responses' or 'chat'.",
        ) from error


def _github_app(environment: Mapping[str, str]) -> GitHubApp | None:
    id, key = environment.get("GITHUB_APP_ID", "").strip(), environment.get("GITHUB_APP_PRIVATE_KEY", "").strip()
    if not id and not key:
        return None
    if not id or not key:
        raise Permanent(
            f"GITHUB_APP_ID is '{id}', and GITHUB_APP_PRIVATE_KEY is {'set' if key else 'not set'}",
            "Set both, or neither to use GITHUB_TOKEN.",
        )
    return GitHubApp(id, key)


def _storage(environment: Mapping[str, str]) -> CloudStorage | None:
    names = [PREFIX + "COSMOS_ENDPOINT", PREFIX + "BLOBS_URL"]
    endpoint, blobs_url = (environment.get(name, "").rstrip("/") for name in names)
    if not endpoint and not blobs_url:
        return None
    if not endpoint.startswith("https://") or not re.fullmatch(r"https://[^/]+/.+", blobs_url):
        raise Permanent(
            f"{names[0]} and {names[1]} are '{endpoint}' and '{blobs_url}'",
            "Set both: https://ACCOUNT.documents.azure.com and https://ACCOUNT.blob.core.windows.net/CONTAINER.",
        )
    return CloudStorage(
        endpoint, blobs_url, environment.get(PREFIX + "COSMOS_DATABASE") or CloudStorage.cosmos_database
    )


def _mcp(environment: Mapping[str, str]) -> Mcp:
    given = environment.get(PREFIX + "MCP", "").strip()
    if not given:
        return Mcp()
    try:
        text = given if given.startswith("{") else Path(given).read_text()
        return mcp.parse(text, environment)
    except (OSError, UnicodeDecodeError, Unprocessable) as fault:
        raise Permanent(
            f"NIGHTSHIFT_MCP: {fault}",
            'Give {"mcpServers": {"NAME": {"command": "...", "args": []}}}, or "url", or the path of such a file.',
        ) from fault


_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _entra(environment: Mapping[str, str]) -> Entra | None:
    tenant, client_id = (environment.get(f"{PREFIX}ENTRA_{name}", "").lower() for name in ("TENANT_ID", "CLIENT_ID"))
    if not tenant and not client_id:
        return None
    if not _GUID.fullmatch(tenant) or not _GUID.fullmatch(client_id):
        raise Permanent(
            "NIGHTSHIFT_ENTRA_TENANT_ID and NIGHTSHIFT_ENTRA_CLIENT_ID are not both an id",
            "Set both: the tenant's id (not its domain) and the application (client) id of the app registration.",
        )
    authority = environment.get(PREFIX + "ENTRA_AUTHORITY") or Entra.authority
    if not authority.startswith("https://"):
        raise Permanent(
            f"NIGHTSHIFT_ENTRA_AUTHORITY is '{authority}'", "Give an https URL; it is where keys come from."
        )
    return Entra(tenant, client_id, authority.rstrip("/"), _flag(environment, PREFIX + "ENTRA_ROLE_REQUIRED", True))


def _sign_in(environment: Mapping[str, str], entra: Entra | None) -> bool:
    """Only the platform can say so, and our own settings can only say no.

    App Service and Functions set WEBSITE_SITE_NAME in every app, and WEBSITE_AUTH_ENABLED where their authentication
    runs before it; then, and only then, they take X-MS-CLIENT-PRINCIPAL away from what a client sent.
    """
    on = bool(environment.get("WEBSITE_SITE_NAME")) and environment.get("WEBSITE_AUTH_ENABLED", "").lower() == "true"
    if not on or environment.get(PREFIX + "LOCAL") == "1" or not _flag(environment, PREFIX + "SIGN_IN", True):
        return False
    if entra is None:
        raise Permanent(
            "App Service authentication is on, but nothing says whose sign-ins are good",
            "Set NIGHTSHIFT_ENTRA_TENANT_ID and NIGHTSHIFT_ENTRA_CLIENT_ID, or NIGHTSHIFT_SIGN_IN=0 to take keys only.",
        )
    return True


def _virtual_machines(environment: Mapping[str, str]) -> VirtualMachines | None:
    def text(name: str) -> str:
        return environment.get(f"{PREFIX}VM_{name}", "").strip()

    def names(name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(each.strip() for each in text(name).split(",") if each.strip()) or default

    needed = {name: text(name) for name in ("RESOURCE_GROUP", "LOCATION", "SUBNET", "IMAGE", "IDENTITY")}
    if not any(needed.values()):
        return None
    for name, value in needed.items():
        if not value or (name != "LOCATION" and not value.lower().startswith("/subscriptions/")):
            raise Permanent(
                f"{PREFIX}VM_{name} is '{value}'",
                "Machines in Azure need NIGHTSHIFT_VM_LOCATION, and resource ids (/subscriptions/...) in "
                "NIGHTSHIFT_VM_RESOURCE_GROUP, _SUBNET, _IMAGE and _IDENTITY.",
            )
    arm_url = (environment.get(PREFIX + "ARM_URL") or VirtualMachines.arm_url).rstrip("/")
    if not arm_url.startswith(("https://", "http://127.0.0.1:")):
        raise Permanent(f"{PREFIX}ARM_URL is '{arm_url}'", "Give an https URL; http only for an emulator on 127.0.0.1.")
    return VirtualMachines(
        **{name.lower(): value for name, value in needed.items()},
        sizes=names("SIZES", VirtualMachines.sizes),
        zones=names("ZONES", VirtualMachines.zones),
        spot=_flag(environment, PREFIX + "VM_SPOT", False),
        disk_gb=int(_number(environment, PREFIX + "VM_DISK_GB", VirtualMachines.disk_gb)),
        ssh_key=text("SSH_KEY"),
        arm_url=arm_url,
    )


def _deployments(environment: Mapping[str, str]) -> dict[str, str]:
    pairs = [each.strip() for each in environment.get(PREFIX + "DEPLOYMENTS", "").split(",") if each.strip()]
    if wrong := [pair for pair in pairs if not re.fullmatch(r"[^=\s]+=[^=\s]+", pair)]:
        raise Permanent(f"{PREFIX}DEPLOYMENTS has '{wrong[0]}'", "Give NAME=MODEL, separated by commas.")
    return dict(pair.split("=") for pair in pairs)


def _container_pool(environment: Mapping[str, str], machines: VirtualMachines | None) -> str:
    name = PREFIX + "CONTAINER_POOL"
    url = _https(environment, name)
    if url and machines is not None:
        raise Permanent(
            f"{name} and {PREFIX}VM_RESOURCE_GROUP are both set", "Machines are one or the other: set one of them."
        )
    return url


def _https(environment: Mapping[str, str], name: str) -> str:
    """'' if it is not set."""
    url = environment.get(name, "").rstrip("/")
    if url and not url.startswith("https://"):
        raise Permanent(f"{name} is '{url}'", "Give an https URL: tokens of the app's identity go there.")
    return url


def _push_services(environment: Mapping[str, str]) -> tuple[str, ...]:
    name = PREFIX + "PUSH_SERVICES"
    origins = tuple(each.strip().rstrip("/") for each in environment.get(name, "").split(",") if each.strip())
    for origin in origins:
        if not re.fullmatch(r"https://(\*\.)?[a-z0-9.-]+(:\d+)?|http://127\.0\.0\.1:\d+", origin):
            raise Permanent(f"{name} has '{origin}'", "Give https://HOST; http only for an emulator on 127.0.0.1.")
    return origins


def _webhook(environment: Mapping[str, str]) -> Webhook | None:
    names = [PREFIX + "WEBHOOK_URL", PREFIX + "WEBHOOK_SECRET"]
    url, secret = (environment.get(name, "").strip() for name in names)
    if not url and not secret:
        return None
    if not url.startswith(("https://", "http://127.0.0.1:")) or len(secret) < 16:
        raise Permanent(
            f"{names[0]} is '{url}', and {names[1]} has {len(secret)} characters",
            "Set both: an https URL (http only on 127.0.0.1), and a secret of at least 16 characters.",
        )
    return Webhook(url, secret)


def _flag(environment: Mapping[str, str], name: str, default: bool) -> bool:
    text = environment.get(name) or str(int(default))
    if text not in ("0", "1"):
        raise Permanent(f"{name} is '{text}'", "Give 0 or 1.")
    return text == "1"


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
