"""Programs that run where the tools run, with the tools' rights and no more. They use the standard library alone, since
their text is handed to a Python that may be unable to read the worker's folder."""

from __future__ import annotations

from importlib.resources import files


def program(name: str) -> str:
    """The text of one of these."""
    return (files(__name__) / name).read_text()
