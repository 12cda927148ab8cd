"""Who may call what: the Functions host's keys, and its leniency on a developer's own machine."""

import ipaddress
import secrets
from dataclasses import dataclass

from starlette.requests import Request

from embedded.loader import AuthLevel

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host")


@dataclass(frozen=True, slots=True)
class Keys:
    """One key for all: function key, admin key and the management API's."""

    admin_key: str
    loopback_only: bool  # the host listens on loopback alone

    def allows(self, request: Request, level: AuthLevel) -> bool:
        """Whether the request may use an endpoint of this level."""
        if level == "anonymous" or (level == "function" and self.is_local(request)):
            return True
        offered = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
        return secrets.compare_digest(offered.encode(), self.admin_key.encode())

    def is_local(self, request: Request) -> bool:
        """Whether the request comes from this machine's own user.

        A proxy on this machine forwards strangers, and a web page can name this machine by a name of its own
        (DNS rebinding), so neither a forwarded request nor one for a foreign Host counts.
        """
        client = request.client.host if request.client else ""
        named = request.url.hostname or ""
        forwarded = any(header in request.headers for header in FORWARDED)
        return self.loopback_only and is_loopback(client) and is_loopback(named) and not forwarded


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
