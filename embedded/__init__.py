"""A one-machine stand-in for the Azure Functions host.

It serves any folder with a Functions app (`function_app.py`, programming model v2), Durable Functions included:

    python -m embedded start --app-dir DIR --port 7071 --hub FILE
"""
