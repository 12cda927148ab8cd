"""Addresses and small values that every shape needs."""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def maybe_stamp(moment: datetime | None) -> str | None:
    return stamp(moment) if moment else None


def node_id(kind: str, key: object) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


@dataclass(frozen=True)
class Links:
    """`html` is the forge's own address, under which git repositories are served too."""

    html: str

    @property
    def api(self) -> str:
        return f"{self.html}/api/v3"

    def repo(self, full_name: str) -> str:
        return f"{self.api}/repos/{full_name}"

    def page(self, full_name: str) -> str:
        return f"{self.html}/{full_name}"
