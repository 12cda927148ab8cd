"""Tools of Model Context Protocol servers. Imported only when servers are configured: the protocol's library is heavy.

servers      all of them, as tools for the agent;  server: one, started, connected and started again
tools        names, schemas, calls;                results: what a call gave, for the model
connections  the ways to reach a server
"""

from worker.mcp.servers import Servers

__all__ = ["Servers"]
