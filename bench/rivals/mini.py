"""mini-swe-agent as its own command line sets it up, without asking anybody. Run by its own environment's Python."""

import sys
from pathlib import Path

import yaml
from minisweagent import package_dir
from minisweagent.agents.default import DefaultAgent
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.litellm_model import LitellmModel

url, kept = sys.argv[1:]
config = yaml.safe_load((package_dir / "config" / "mini.yaml").read_text())
model = LitellmModel(
    model_name="openai/gpt-5.2",
    model_kwargs={"api_base": url, "api_key": "any"},
    cost_tracking="ignore_errors",
)
limits = {"step_limit": 0, "cost_limit": 0, "output_path": Path(kept) if kept else None}
DefaultAgent(model, LocalEnvironment(), **{**config["agent"], **limits}).run("Count, again and again.")
