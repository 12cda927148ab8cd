#!/usr/bin/env python3
"""Checks infra/ without a compiler and without a network: exit code 1 and a line for everything that is wrong.

    python scripts/check_bicep.py [--types CHECKOUT] [--verbose]

--types: a clone of github.com/Azure/bicep-types-az, whose types are then used before all others. What each check is,
and what none of them sees, is in docs/azure.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.bicepcheck import names, rules, shapes, sources, syntax  # noqa: E402
from scripts.bicepcheck.shapes import Finding  # noqa: E402
from scripts.bicepcheck.sources import TypeSource  # noqa: E402
from scripts.bicepcheck.syntax import Source  # noqa: E402


@dataclass
class Result:
    findings: list[str] = field(default_factory=list[str])
    checked: dict[str, str] = field(default_factory=dict[str, str])
    """TYPE@VERSION -> where its type came from."""
    unchecked: set[str] = field(default_factory=set[str])
    """TYPE@VERSION for which no type was to be had."""

    def add(self, path: Path, found: Iterable[Finding]) -> None:
        where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        self.findings += [f"{where}:{line}: {text}" for line, text in found]


def read(folder: Path) -> dict[Path, Source]:
    return {path.resolve(): syntax.parse(path) for path in sorted(folder.rglob("*.bicep*"))}


def check(folder: Path, found_types: list[TypeSource], document: Path = ROOT / "docs" / "azure.md") -> Result:
    result = Result()
    files = read(folder)
    templates = {path: source for path, source in files.items() if path.suffix == ".bicep"}
    for path, source in files.items():
        result.add(path, source.errors)
        result.add(path, names.check_names(source))
        result.add(path, rules.check_secrets(source))
        result.add(path, names.check_modules(source, templates))
        if path.suffix == ".bicepparam":
            result.add(path, names.check_parameters(source, templates))
        else:
            result.add(path, check_types(source, found_types, result))
    for path in sorted(set(templates) - _reached(templates, folder / "main.bicep")):
        result.add(path, [(1, "no template uses this module")])
    main = templates[(folder / "main.bicep").resolve()]
    by_name = {path.name: source for path, source in templates.items()}
    for path, found in [
        *names.check_sizes(main, folder / "environments"),
        *rules.check_roles(list(templates.values()), document),
        *rules.check_settings(list(templates.values()), document, ROOT / "host.json"),
        *rules.check_alerts(by_name["alerts.bicep"], document),
        *rules.check_common_names(by_name, ROOT),
    ]:
        result.add(path, [found])
    return result


def check_types(source: Source, found_types: list[TypeSource], result: Result) -> Iterator[Finding]:
    of_symbols: dict[str, shapes.Type] = {}
    for each in source.of("resource"):
        name = shapes.full_type(each)
        resource, _, version = name.partition("@")
        for types in found_types:
            if (found := types.find(resource, version)) is not None:
                of_symbols[each.name] = found
                result.checked[name] = types.name
                yield from shapes.check_resource(source, each, found)
                break
        else:
            result.unchecked.add(name)
    for number, line in enumerate(source.path.read_text().splitlines(), 1):
        for symbol, path in re.findall(r"\b(\w+)\.(properties(?:\.\w+)+)", re.sub(r"(?<!:)//.*", "", line)):
            if symbol in of_symbols and (step := shapes.follow(of_symbols[symbol], path.split("."))):
                yield number, f"'{symbol}' has no '{step}' in '{path}'"


def _reached(templates: dict[Path, Source], start: Path) -> set[Path]:
    reached: set[Path] = set()
    todo = [start.resolve()]
    while todo:
        path = todo.pop()
        if path in templates and path not in reached:
            reached.add(path)
            todo += [(path.parent / each.type).resolve() for each in templates[path].of("module")]
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", type=Path, metavar="CHECKOUT")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    result = check(ROOT / "infra", sources.available(arguments.types))
    for finding in result.findings:
        print(finding)
    if arguments.verbose:
        for name, source in sorted(result.checked.items()):
            print(f"checked by {source:9} {name}")
    for name in sorted(result.unchecked):
        print(f"not checked: {name} (no type to be had)")
    print(f"{len(result.checked)} types checked, {len(result.unchecked)} not; {len(result.findings)} findings")
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
