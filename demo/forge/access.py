"""Who asks: a token in HTTP basic (as the password, with any user name) or as a bearer."""

import base64
import binascii

from starlette.datastructures import Headers

from demo.forge.records import Token
from demo.forge.state import State


def identify(state: State, headers: Headers) -> Token | None:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "bearer" | "token":
            return state.token(credentials.strip())
        case "basic":
            return state.token(_password(credentials))
        case _:
            return None


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""  # no token has this digest
