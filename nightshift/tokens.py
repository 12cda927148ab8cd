"""Worker tokens: signed by the control plane, naming one session and one start of its machine, and expiring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt

from nightshift.errors import Unauthorized

AUDIENCE = "nightshift-worker"


@dataclass(frozen=True)
class WorkerIdentity:
    session_id: str
    generation: int


def issue(key: str, identity: WorkerIdentity, lifetime: timedelta) -> str:
    claims = {
        "aud": AUDIENCE,
        "sub": identity.session_id,
        "gen": identity.generation,
        "exp": datetime.now(UTC) + lifetime,
    }
    return jwt.encode(claims, key, algorithm="HS256")


def verify(key: str, token: str) -> WorkerIdentity:
    """Raises Unauthorized if the token is forged, expired or for something else."""
    try:
        claims = jwt.decode(
            token, key, algorithms=["HS256"], audience=AUDIENCE, options={"require": ["exp", "aud", "sub", "gen"]}
        )
        return WorkerIdentity(str(claims["sub"]), int(claims["gen"]))
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise Unauthorized("The worker token is not valid; start the worker again to get a new one") from error
