"""A one-machine stand-in for the Azure Functions host.

It serves any folder with a Functions app (`function_app.py`, programming model v2), Durable Functions included:

    python -m embedded start --app-dir DIR --port 7071 --hub FILE
"""

from embedded.errors import StartError
from embedded.host import Host

__all__ = ["Host", "StartError"]
