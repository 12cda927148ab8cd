"""OpenHands' SDK as its documentation begins: an agent with a terminal. Run by its own environment's Python."""

import sys

from openhands.sdk import LLM, Agent, Conversation, Tool
from openhands.tools.terminal import TerminalTool

url, folder = sys.argv[1:]
llm = LLM(model="openai/gpt-5.2", base_url=url, api_key="any", num_retries=0)
agent = Agent(llm=llm, tools=[Tool(name=TerminalTool.name)])
conversation = Conversation(
    agent=agent, workspace=folder, persistence_dir=f"{folder}/kept", max_iteration_per_run=100_000, visualizer=None
)
conversation.send_message("Count, again and again.")
conversation.run()
