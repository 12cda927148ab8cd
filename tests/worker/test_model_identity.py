"""Signing in to Azure's model accounts as the machine: azure-identity's own client against a token endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from nightshift.errors import Permanent
from nightshift.models import ModelEndpoint
from nightshift.testing.wire import Answer, Request, serve
from tests.worker.asking import no_files, prompt
from tests.worker.rawserver import RawServer, answer, error
from worker.model import ModelFault, ModelServer

SAID = {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}]}


class Tokens:
    """The local endpoint of App Service and its kin, which azure-identity asks where these variables are set."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.status = 200

    async def answer(self, request: Request) -> Answer:
        assert request.headers["x-identity-header"] == "of-this-machine"
        self.asked.append(parse_qs(urlsplit(request.target).query))
        if self.status != 200:
            return Answer(self.status, {"error": {"message": "no identity is assigned"}})
        expires = str(int(time.time()) + 86_400)
        token = {"access_token": "token-of-entra", "expires_on": expires, "token_type": "Bearer"}
        return Answer(200, token | {"resource": self.asked[-1]["resource"][0]})


@pytest_asyncio.fixture
async def tokens(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Tokens]:
    tokens = Tokens()
    server = await serve(tokens.answer, "127.0.0.1", 0)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "of-this-machine")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    yield tokens
    server.close()


async def test_the_machines_identity_is_the_key(tokens: Tokens) -> None:
    async with RawServer().running() as server:
        server.answers.extend([error(500, "not now", retry_after_ms="1"), answer(200, SAID)])
        model = ModelServer(ModelEndpoint(base_url=server.url, auth="identity"), "s1", no_files)
        await model.respond(prompt("?"))
        await model.respond(prompt("?"))
        await model.close()
    assert len(server.requests) == 3
    assert all("authorization: bearer token-of-entra" in head.lower() for head in server.headers)
    assert [asked["resource"] for asked in tokens.asked] == [["https://cognitiveservices.azure.com"]], "asked once"
    assert "token-of-entra" not in json.dumps(server.requests)


async def test_without_an_identity_a_person_is_told(tokens: Tokens) -> None:
    tokens.status = 400
    async with RawServer().running() as server:
        model = ModelServer(ModelEndpoint(base_url=server.url, auth="identity"), "s1", no_files)
        with pytest.raises(Permanent, match="identity gets no token") as fault:
            await model.respond(prompt("?"))
        await model.close()
    assert "Cognitive Services OpenAI User" in fault.value.advice
    assert isinstance(fault.value, ModelFault)
    assert fault.value.code == "model_access"
    assert server.requests == []
