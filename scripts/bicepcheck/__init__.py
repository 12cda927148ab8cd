"""What can be said about the Bicep files without Bicep's compiler, which cannot be had from a package registry.

syntax.py    a file as a tree of plain values (PyPI: tree-sitter-bicep)
names.py     every name means something; modules get what they declare
shapes.py    a resource against the type of its API version
sources.py   where such types are published
rules.py     secrets, roles, settings, alerts: the template against the code and docs/azure.md
"""
