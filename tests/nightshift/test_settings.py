"""What the environment says, and what is told when it says something wrong."""

from __future__ import annotations

import pytest

from nightshift.errors import Permanent
from nightshift.models import ModelEndpoint
from nightshift.settings import Settings

BASE = {"NIGHTSHIFT_SIGNING_KEY": "k" * 64}
AZURE = "https://account.openai.azure.com/openai/v1/"


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, ModelEndpoint()),
        ({"OPENAI_API_KEY": "key"}, ModelEndpoint(api_key="key")),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}, ModelEndpoint(base_url="http://127.0.0.1:8080/v1")),
        ({"OPENAI_BASE_URL": AZURE}, ModelEndpoint(base_url=AZURE, auth="identity")),
        ({"OPENAI_BASE_URL": AZURE, "OPENAI_API_KEY": "key"}, ModelEndpoint(base_url=AZURE, api_key="key")),
        ({"OPENAI_BASE_URL": "https://gateway.example", "NIGHTSHIFT_MODEL_AUTH": "identity",
          "NIGHTSHIFT_MODEL_API": "chat"},
         ModelEndpoint(base_url="https://gateway.example", auth="identity", api="chat")),
    ],
)  # fmt: skip
def test_how_the_model_is_reached(environment: dict[str, str], endpoint: ModelEndpoint) -> None:
    assert Settings.read(BASE | environment).endpoint == endpoint


@pytest.mark.parametrize("name", ["NIGHTSHIFT_MODEL_AUTH", "NIGHTSHIFT_MODEL_API"])
def test_a_way_to_the_model_that_there_is_not(name: str) -> None:
    with pytest.raises(Permanent, match="NIGHTSHIFT_MODEL") as error:
        Settings.read(BASE | {name: "password"})
    assert "'key' or 'identity'" in error.value.advice
