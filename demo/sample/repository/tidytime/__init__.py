"""Durations the way people write them."""

from tidytime.formatting import format
from tidytime.parsing import parse

__all__ = ["format", "parse"]
