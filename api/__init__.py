"""The HTTP surface: sessions, the worker protocol, health and the pages."""
