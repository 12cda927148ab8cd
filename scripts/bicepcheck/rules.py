"""What the template must agree upon with the code and with docs/azure.md, and what it must never give away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from scripts.bicepcheck.shapes import Finding, full_type
from scripts.bicepcheck.syntax import Array, Expression, Object, Source, Value, names_in

_SECRET_NAME = re.compile(
    r"secret|password|passphrase|token$|apikey|signingkey|connectionstring|webhook|sas$", re.IGNORECASE
)
_SECRET_SOURCE = re.compile(
    r"\blist\w*\(|\.getSecret\(|primaryKey|secondaryKey|InstrumentationKey|ConnectionString|keyValue"
)
_HARMLESS = {"token"}
"""The part of names that makes them unique."""
_ROLES = {"microsoft.authorization/roleassignments", "microsoft.documentdb/databaseaccounts/sqlroleassignments"}
_PLATFORM = re.compile(
    r"^(AzureWebJobs|AzureFunctionsJobHost__|APPLICATIONINSIGHTS_|WEBSITE_|AZURE_CLIENT_ID$|OVERRIDE_USE_MI_)"
)
"""Settings that the Functions host, its extensions or Azure's SDKs read."""


def check_secrets(source: Source) -> Iterator[Finding]:
    secure = {each.name for each in source.of("param") if any(name.startswith("secure") for name in each.decorators)}
    for each in source.of("param"):
        if each.name in secure:
            if each.value is not None and not (isinstance(each.value, Expression) and each.value.literal == ""):
                yield each.line, f"the secret '{each.name}' has a default"
        elif source.path.suffix == ".bicep" and _SECRET_NAME.search(each.name) and each.name not in _HARMLESS:
            yield each.line, f"'{each.name}' sounds like a secret and is not @secure()"
    for each in source.of("output"):
        for value in names_in(each.value):
            if _SECRET_SOURCE.search(value.text) or value.names & secure:
                yield each.line, f"the output '{each.name}' gives away a secret"
        if _SECRET_NAME.search(each.name):
            yield each.line, f"the output '{each.name}' sounds like a secret"
    for each in source.of("var", "resource", "module"):
        for value in names_in(each.value):
            # What it is needed for here: the function app's telemetry, whose key opens nothing (local auth is off).
            if re.search(r"\blist(Keys|Secrets|ConnectionStrings)\w*\(", value.text):
                yield value.line, "a key is read where an identity should do"


# --- roles ------------------------------------------------------------------------------------------------


def role_assignments(source: Source) -> dict[str, int]:
    """`file symbol` -> line."""
    return {
        f"{source.path.name} {each.name}": each.line
        for each in source.of("resource")
        if full_type(each).partition("@")[0].lower() in _ROLES
    }


def check_roles(sources: list[Source], document: Path) -> Iterator[tuple[Path, Finding]]:
    rows = {
        f"{match[1]} {match[2]}": number
        for number, line in enumerate(document.read_text().splitlines(), 1)
        if (match := re.match(r"\| `([\w.-]+\.bicep)` `(\w+)` \|", line))
    }
    found: dict[str, tuple[Path, int]] = {}
    for source in sources:
        found |= {name: (source.path, line) for name, line in role_assignments(source).items()}
    for name in sorted(found.keys() - rows.keys()):
        yield found[name][0], (found[name][1], f"the role assignment '{name}' is not in the table of {document.name}")
    for name in sorted(rows.keys() - found.keys()):
        yield document, (rows[name], f"the table names a role assignment that is not there: '{name}'")


# --- app settings -----------------------------------------------------------------------------------------


class _Asked(Mapping[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


_ID = "00000000-0000-0000-0000-000000000000"


def settings_read(given: set[str]) -> set[str]:
    """What nightshift/settings.py asks for: with nothing set, and with everything that the template sets."""
    from nightshift.errors import NightshiftError
    from nightshift.settings import Settings

    base = {"NIGHTSHIFT_SIGNING_KEY": "x" * 64, "WEBSITE_SITE_NAME": "x", "WEBSITE_AUTH_ENABLED": "True"}
    names: set[str] = set()
    for values in ({}, base, base | {name: _plausible(name) for name in given if name not in base}):
        asked = _Asked(values)
        with suppress(NightshiftError):  # it says what is missing; what it asked for until then counts
            Settings.read(asked)
        names |= asked.names
    return names


def _plausible(name: str) -> str:
    if name.endswith(("_TENANT_ID", "_CLIENT_ID")):
        return _ID
    if name.endswith(("_SUBNET", "_IMAGE", "_IDENTITY", "_RESOURCE_GROUP")):
        return f"/subscriptions/{_ID}/resourceGroups/g/providers/p/t/n"
    if name.endswith("_SPOT"):
        return "0"
    if name.endswith(("_ZONES", "_SIZES", "_APP_ID")):
        return "1"
    return "https://example.invalid/x"


def settings_set(sources: list[Source]) -> dict[str, tuple[Path, int]]:
    """Every key that looks like an app setting, wherever in the template it is put together."""
    found: dict[str, tuple[Path, int]] = {}
    for source in sources:
        for each in source.of("resource", "module", "var"):
            for key, line in _keys(each.value):
                if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", key) or _PLATFORM.match(key):
                    found.setdefault(key, (source.path, line))
    return found


def _keys(value: Value | None) -> Iterator[tuple[str, int]]:
    match value:
        case Object():
            for key, each in value.properties.items():
                yield key, each.line
                yield from _keys(each)
        case Array():
            for each in value.items:
                yield from _keys(each)
        case Expression():
            for each in value.options:
                yield from _keys(each)
        case None:
            pass


def check_settings(sources: list[Source], document: Path, host: Path) -> Iterator[tuple[Path, Finding]]:
    """Set and read, or read and told in the document as optional."""
    given = settings_set(sources)
    read = settings_read(set(given))
    text = document.read_text()
    optional = set(re.findall(r"`([A-Z]\w*[A-Z]\w*)`", _section(text, "Optional settings")))
    known = read | set(re.findall(r'"([A-Z][A-Z0-9_]+)"', host.read_text()))
    for name in sorted(given.keys() - known):
        if not _PLATFORM.match(name):
            yield given[name][0], (given[name][1], f"nothing reads the setting {name}")
    for name in sorted(read - given.keys() - optional):
        if not _PLATFORM.match(name):
            yield document, (1, f"the code reads {name}, which is neither set by the template nor told as optional")
    for name in sorted(optional - given.keys() - read):
        yield document, (1, f"nothing sets or reads {name}")


def _section(text: str, title: str) -> str:
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


# --- what else has two ends -------------------------------------------------------------------------------


def check_alerts(source: Source, document: Path) -> Iterator[tuple[Path, Finding]]:
    declared: set[str] = set()
    for name in ("logAlerts", "metricAlerts"):
        variable = source.named(name)
        if variable is not None and isinstance(variable.value, Array):
            for each in variable.value.items:
                if isinstance(each, Object) and isinstance(it := each.properties.get("name"), Expression):
                    declared.add(str(it.literal))
    told = set(re.findall(r"^\| `([\w-]+)`", _section(document.read_text(), "What each alert means"), re.MULTILINE))
    for name in sorted(declared ^ told):
        where = document if name in declared else source.path
        yield where, (1, f"the alert '{name}' is only in {'the template' if name in declared else 'the document'}")


def check_common_names(sources: dict[str, Source], root: Path) -> Iterator[tuple[Path, Finding]]:
    """Names that the template and the code both write down."""
    from nightshift.live import HUB

    hub = json.loads((root / "host.json").read_text())["extensions"]["durableTask"]["hubName"]
    pairs = [
        ("main.bicep", "hubName", hub, "host.json"),
        ("pubsub.bicep", "hub", HUB, "nightshift/live.py"),
        *_store_names(root),
    ]
    for file, symbol, wanted, where in pairs:
        found = sources[file].named(symbol)
        value = found.value if found is not None else None
        if isinstance(value, Object):
            value = value.properties.get("name")
        if not isinstance(value, Expression) or value.literal != wanted:
            line = found.line if found is not None else 1
            yield sources[file].path, (line, f"'{symbol}' is not '{wanted}', as {where} says")


def _store_names(root: Path) -> Iterator[tuple[str, str, str, str]]:
    store = root / "nightshift" / "store" / "cosmos.py"
    if store.exists():
        text = store.read_text()
        if match := re.search(r'^CONTAINER = "(\w+)"', text, re.MULTILINE):
            yield "cosmos.bicep", "container", match[1], "nightshift/store/cosmos.py"
        if match := re.search(r'database: str = "(\w+)"', text):
            yield "cosmos.bicep", "database", match[1], "nightshift/store/cosmos.py"
