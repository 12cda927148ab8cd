"""Route templates of HTTP triggers (`items/{id:int:min(1)}/{*rest}`), after ASP.NET's rules."""

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from embedded.errors import StartError

_ARGUMENTS = r"\((?:[^()]|\([^()]*\))*\)"  # of a constraint; a regex may have groups, but not nested ones
_CONSTRAINT = re.compile(rf":(\w+)({_ARGUMENTS})?")
_PARAMETER = re.compile(
    rf"\{{(?P<star>\*{{0,2}})(?P<name>\w+)(?P<constraints>(?::\w+(?:{_ARGUMENTS})?)*)(?P<optional>\?)?\}}"
)
# Whether a value passes; a ValueError is a no. Of dates ASP.NET reads more notations than ISO 8601.
_CHECKS: Mapping[str, Callable[[str, list[Any]], Any]] = {
    "alpha": lambda value, _: re.fullmatch("[a-z]*", value, re.IGNORECASE),
    "bool": lambda value, _: value.lower() in ("true", "false"),
    "datetime": lambda value, _: datetime.fromisoformat(value),
    "decimal": lambda value, _: math.isfinite(float(value)),
    "double": lambda value, _: math.isfinite(float(value)),
    "float": lambda value, _: math.isfinite(float(value)),
    "guid": lambda value, _: UUID(value),
    "int": lambda value, _: -(2**31) <= int(value) < 2**31,
    "long": lambda value, _: -(2**63) <= int(value) < 2**63,
    "length": lambda value, given: given[0] <= len(value) <= given[-1],
    "minlength": lambda value, given: len(value) >= given[0],
    "maxlength": lambda value, given: len(value) <= given[0],
    "min": lambda value, given: int(value) >= given[0],
    "max": lambda value, given: int(value) <= given[0],
    "range": lambda value, given: given[0] <= int(value) <= given[1],
    "regex": lambda value, given: re.search(given[0], value, re.IGNORECASE),
    "required": lambda value, _: value,
}


class Template:
    """Of several that match, the one of the lowest `rank` is meant: literals come first. Raises StartError."""

    def __init__(self, text: str) -> None:
        self.rank: list[int] = []
        self._checks: list[tuple[str, Callable[[str], Any]]] = []
        pattern = ""
        for index, segment in enumerate(text.strip("/").split("/")):
            parameters = list(_PARAMETER.finditer(segment))
            literals = _PARAMETER.split(segment)[:: _PARAMETER.groups + 1]
            absent = any(parameter["star"] or parameter["optional"] for parameter in parameters)
            if any("{" in each or "}" in each for each in literals) or (absent and parameters[0][0] != segment):
                raise StartError(f"route '{text}': '{segment}' is not understood")
            inner = re.escape(literals[0])
            for parameter, literal in zip(parameters, literals[1:], strict=True):
                inner += f"(?P<{parameter['name']}>{'.*' if parameter['star'] else '[^/]+'}){re.escape(literal)}"
                for name, arguments in _CONSTRAINT.findall(parameter["constraints"]):
                    self._checks.append((parameter["name"], _check(text, name, arguments)))
            pattern += f"(?:{'/' if index else ''}{inner}){'?' if absent else ''}"
            if parameters and not any(literals):
                self.rank.append((5 if parameters[0]["star"] else 3) - bool(parameters[0]["constraints"]))
            else:
                self.rank.append(2 if parameters else 1)
        self._pattern = re.compile(f"/{pattern}/?", re.IGNORECASE)

    def match(self, raw_path: bytes) -> dict[str, str] | None:
        """The route values in a request's path, or None. An encoded slash stays encoded, as it separates nothing."""
        segments = (unquote(segment).replace("/", "%2F") for segment in raw_path.decode("latin-1").split("/"))
        found = self._pattern.fullmatch("/".join(segments))
        values = {name: value for name, value in found.groupdict().items() if value is not None} if found else {}
        try:
            fits = all(check(values[name]) for name, check in self._checks if name in values)
        except ValueError:
            return None
        return values if found and fits else None


def _check(template: str, name: str, arguments: str) -> Callable[[str], Any]:
    try:
        text = arguments[1:-1].replace("{{", "{").replace("}}", "}")  # doubled, as they are no parameter's
        given = [text] if name == "regex" else [int(each) for each in text.split(",") if each]
        with suppress(ValueError):
            _CHECKS[name]("1", given)  # so that wrong arguments are found now
    except (LookupError, ValueError, re.error):
        raise StartError(f"route '{template}': constraint '{name}{arguments}' is not supported") from None
    return lambda value: _CHECKS[name](value, given)
