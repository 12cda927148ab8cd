"""Who may call what: the Functions host's keys, and its leniency on a developer's own machine."""

import ipaddress
import secrets
from dataclasses import dataclass

from starlette.requests import Request

from embedded import callers


@dataclass(frozen=True, slots=True)
class Keys:
    """One key for all: function key, admin key and the management API's."""

    admin_key: str
    loopback_only: bool  # the host listens on loopback alone

    def allows(self, request: Request, level: str) -> bool:
        """`level` is anonymous, function, admin, or system: that of the management API."""
        if level == "anonymous" or (level in ("function", "system") and self._is_local(request)):
            return True
        offered = request.headers.get("x-functions-key") or request.query_params.get("code") or ""
        return secrets.compare_digest(offered.encode(), self.admin_key.encode())

    def _is_local(self, request: Request) -> bool:
        """Whether the request comes from this machine's own user.

        A proxy on this machine forwards strangers, and a web page can name this machine by a name of its own
        (DNS rebinding), so neither a forwarded request nor one for a foreign Host counts. Nor does a sandbox's.
        """
        ends = (request.client.host if request.client else "", request.url.hostname or "")
        telling = ("forwarded", "x-forwarded-for", "x-forwarded-host", callers.HEADER)
        foreign = any(each in request.headers for each in telling)
        return self.loopback_only and all(map(is_loopback, ends)) and not foreign


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
