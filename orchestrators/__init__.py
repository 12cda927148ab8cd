"""Durable orchestrations. A session's whole life is in session.py."""
