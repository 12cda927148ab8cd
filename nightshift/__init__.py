"""The vocabulary every part of Nightshift shares: models, lifecycle, ports, errors, settings, pricing."""

__version__ = "0.1.0"
