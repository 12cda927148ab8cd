"""The configuration of servers of the Model Context Protocol: what is taken, and what is told about the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nightshift import mcp
from nightshift.errors import Permanent, Unprocessable
from nightshift.settings import Settings

SECRET = {"NIGHTSHIFT_MCP_SECRET_KEY": "the-key"}
KEYED = {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${NIGHTSHIFT_MCP_SECRET_KEY}"}}


def text(**servers: Any) -> str:
    return json.dumps({"mcpServers": servers})


def test_only_named_secrets_are_taken_and_they_stay_apart() -> None:
    other = {"NIGHTSHIFT_MCP_SECRET_OTHER": "x", "GITHUB_TOKEN": "y"}
    found = mcp.parse(text(far=KEYED, off={"command": "x", "disabled": True}), SECRET | other)
    assert list(found.servers) == ["far"]
    assert found.secrets == SECRET
    assert "the-key" not in repr(found)
    assert "the-key" not in found.servers["far"].model_dump_json()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "Invalid JSON"),
        ("{}", "mcpServers: Field required"),
        (text(a={}), "mcpServers.a: needs either `command` or `url`"),
        (text(a={"command": "x", "url": "http://x"}), "mcpServers.a: needs either"),
        (text(a={"url": "http://x", "args": ["y"]}), "mcpServers.a: mixes"),
        (text(a={"command": "x", "ask": ["t", "u"], "allow": ["t"]}), "mcpServers.a: has t under `ask` and `allow`"),
        (text(a={"command": "x", "comand": "y"}), "mcpServers.a.comand: Extra inputs"),
        (text(a={"url": "ftp://x"}), "mcpServers.a.url: String should match"),
        (text(a={"command": "x", "timeout": 0}), "mcpServers.a.timeout: Input should be greater than 0"),
        (text(a__b={"command": "x"}), "mcpServers.a__b: a name has"),
        (text(a_={"command": "x"}), "mcpServers.a_: a name has"),
        (text(a=KEYED, b={"command": "x", "env": {"K": "${HOME}"}}), "mcpServers.b.env.K: ${HOME} is no secret"),
        (text(a={"command": "x", "env": {"K": "${GITHUB_TOKEN}"}}), "${GITHUB_TOKEN} is no secret"),
        (text(a={"command": "x", "env": {"K": "${NIGHTSHIFT_MCP_SECRET_B}"}}), "NIGHTSHIFT_MCP_SECRET_B is not set"),
        (text(a={"command": "x", "args": ["${NIGHTSHIFT_MCP_SECRET_KEY}"]}), "in env and headers only"),
        (text(a={"url": "https://x/${NIGHTSHIFT_MCP_SECRET_KEY}"}), "in env and headers only"),
    ],
)
def test_what_is_wrong_is_named(given: str, told: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        mcp.parse(given, SECRET | {"GITHUB_TOKEN": "y"})
    assert told in str(refused.value)


def test_it_is_a_setting_or_a_file(tmp_path: Path) -> None:
    key = {"NIGHTSHIFT_SIGNING_KEY": "k" * 32} | SECRET
    file = tmp_path / "mcp.json"
    file.write_text(text(far=KEYED))
    for value in (text(far=KEYED), str(file)):
        assert list(Settings.read(key | {"NIGHTSHIFT_MCP": value}).mcp.servers) == ["far"]
    assert Settings.read(key).mcp.servers == {}
    assert "the-key" not in repr(Settings.read(key | {"NIGHTSHIFT_MCP": str(file)}))
    for wrong in (text(a={}), str(tmp_path / "missing")):
        with pytest.raises(Permanent, match="NIGHTSHIFT_MCP: ") as refused:
            Settings.read(key | {"NIGHTSHIFT_MCP": wrong})
        assert "mcpServers" in refused.value.advice
