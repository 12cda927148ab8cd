"""Route templates of HTTP triggers (`items/{id:int}/{*rest}`), after ASP.NET's rules."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from embedded.errors import StartError

_NUMBER = r"-?\d+(?:\.\d+)?"
_CONSTRAINTS = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "bool": "true|false",
    "guid": r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}",
    "alpha": "[a-z]+",
    "decimal": _NUMBER,
    "double": _NUMBER,
    "float": _NUMBER,
    "datetime": r"\d[^/]*",
}
_PARAMETER = re.compile(
    r"\{(?P<catch_all>\*{0,2})(?P<name>\w+)(?P<constraint>:(?:[^{}]|\{[^{}]*\})+?)?(?P<optional>\?)?\}"
)


@dataclass(frozen=True, slots=True)
class Route:
    """A compiled template. Of several that match, the one of the lowest `rank` is meant: literals come first."""

    pattern: re.Pattern[str]
    rank: tuple[int, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """The route values of a decoded path without its leading slash, or None."""
        found = self.pattern.fullmatch(path)
        return None if found is None else {k: v for k, v in found.groupdict().items() if v is not None}


def compile_route(template: str) -> Route:
    """Compile one template. Raises StartError for what ASP.NET knows and this does not."""
    pattern, rank = "", list[int]()
    for index, segment in enumerate(template.strip("/").split("/")):
        parameter = _PARAMETER.fullmatch(segment)
        slash = "/" if index else ""
        if parameter and parameter["catch_all"]:
            pattern += f"(?:{slash}(?P<{parameter['name']}>.*))?"
            rank.append(3)
        elif parameter and parameter["optional"]:
            pattern += f"(?:{slash}{_group(parameter, template)})?"
            rank.append(2)
        else:
            literals, parameters = _PARAMETER.split(segment)[:: _PARAMETER.groups + 1], _PARAMETER.finditer(segment)
            if any("{" in literal or "}" in literal for literal in literals):
                raise StartError(f"route '{template}': '{segment}' is not understood")
            pattern += slash + re.escape(literals[0])
            for literal, found in zip(literals[1:], parameters, strict=True):
                pattern += _group(found, template) + re.escape(literal)
            rank.append(0 if len(literals) == 1 else 1 if ":" in segment else 2)
    return Route(re.compile(pattern, re.IGNORECASE), tuple(rank))


def decoded_path(raw_path: bytes) -> str:
    """A request's path for matching: decoded, but an encoded slash stays encoded, as it separates nothing."""
    segments = raw_path.decode("latin-1").lstrip("/").split("/")
    return "/".join(unquote(segment).replace("/", "%2F") for segment in segments)


def _group(parameter: re.Match[str], template: str) -> str:
    constraint = (parameter["constraint"] or "")[1:]
    if not constraint:
        inner = "[^/]+"
    elif constraint in _CONSTRAINTS:
        inner = _CONSTRAINTS[constraint]
    elif found := re.fullmatch(r"(length|minlength|maxlength)\((\d+)(?:,\s*(\d+))?\)", constraint):
        kind, low, high = found.groups()
        counts = {"minlength": f"{low},", "maxlength": f"1,{low}", "length": f"{low},{high}" if high else low}
        inner = f"[^/]{{{counts[kind]}}}"
    elif found := re.fullmatch(r"regex\(\^?(.*?)\$?\)", constraint):
        inner = f"(?:{found[1]})"
    else:
        raise StartError(f"route '{template}': constraint '{constraint}' is not supported")
    return f"(?P<{parameter['name']}>{inner})"
