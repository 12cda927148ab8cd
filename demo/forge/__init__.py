"""A forge on this machine: git over smart HTTP and the part of GitHub's REST API that PyGithub calls."""

from demo.forge.server import Forge

__all__ = ["Forge"]
