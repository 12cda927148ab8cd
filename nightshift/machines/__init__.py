"""Adapters of the `Machines` port."""
