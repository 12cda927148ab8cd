"""A one-machine stand-in for the Azure Functions host.

It serves any folder with a Functions app (`function_app.py`, programming model v2), Durable Functions included:

    python -m embedded start --app-dir DIR --port 7071

    host.py        composition and lifecycle: what is started, in which order it stops
    loader.py      an app folder -> its functions
    http.py        HTTP triggers          timers.py     timer triggers
    workitems.py   orchestrations, activities and entities, pulled from the task hub
    hub.py         the task hub, spoken to over the Durable Task gRPC protocol only
    management.py  Durable's HTTP API     pubsub.py     Web PubSub's
"""

from embedded.errors import StartError
from embedded.host import Host

__all__ = ["Host", "StartError"]
