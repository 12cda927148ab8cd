"""The agent that runs on the session's machine. It knows the control plane's HTTP protocol and nothing of Azure.

__main__    reads its user data from stdin and keeps the parts alive
loop        run -> turn -> step -> execute: the agent itself
log         the conversation log: followed, appended to
history     what the log says: what is answered, what is open, what the model gets to read
context     what the model gets to read, and what is put away when it grows too long;  counter: tokens, estimated
room        carries that out;  stuck: whether the agent goes round in circles
client      the control plane over HTTP;  model/: the model server;  prompt: what the agent is told
drafts      what the model is writing right now, for the page
tools/      what the agent can do;  process: their processes;  credentials: git's helper
mcp/        what servers of the Model Context Protocol add to them
"""
