"""The model server behind one small port. Conversations are kept in one form, the Responses API's own items, so that a
session may change its model, its server and its API at any message.

port        Model, Prompt, Reply, and what may go wrong
server      a server with OpenAI's API: asked again when it fails, and without what it does not take
responses, chat    the two APIs: a request out of a prompt, a reply out of a stream of events
faults      what an error means;  patience: how often and how long is tried again;  images: files put into the input
"""

from worker.model.port import Model, ModelFault, Prompt, Reply, Show, Stop
from worker.model.server import ModelServer

__all__ = ["Model", "ModelFault", "ModelServer", "Prompt", "Reply", "Show", "Stop"]
