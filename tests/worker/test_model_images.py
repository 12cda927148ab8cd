"""Images: named in the log, carried by the request, told of where the model has no eyes."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncGenerator
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio

from nightshift.errors import Permanent, StaleGeneration
from nightshift.models import FileRef
from tests.worker.asking import Api, asking, prompt
from tests.worker.rawserver import RawServer, answer, error
from worker.model import images

PNG = b"\x89PNG\r\n\x1a\n and so on"
SCREEN = FileRef(name=sha256(PNG).hexdigest(), filename="screen.png", content_type="image/png", size=len(PNG))
URL = f"data:image/png;base64,{b64encode(PNG).decode()}"
SEEN = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "seen"}]}
GOOD = {
    "chat": answer(200, {"choices": [{"message": {"content": "seen"}, "finish_reason": "stop"}]}),
    "responses": answer(200, {"output": [SEEN]}),
}
LOG: list[Any] = [
    {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, images.part(SCREEN)]},
    {"type": "function_call", "call_id": "c", "name": "shell", "arguments": "{}"},
    {
        "type": "function_call_output",
        "call_id": "c",
        "output": [{"type": "input_text", "text": "a picture"}, images.part(SCREEN)],
    },
]


class Files:
    def __init__(self, **problems: Exception) -> None:
        self.asked: list[str] = []
        self.problem = problems.get("problem")

    async def __call__(self, file: FileRef) -> bytes:
        self.asked.append(file.filename)
        if self.problem:
            raise self.problem
        return PNG


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[RawServer]:
    async with RawServer().running() as server:
        yield server


async def test_images_of_messages_and_tools_over_the_responses_api(server: RawServer) -> None:
    server.answers.append(GOOD["responses"])
    files = Files()
    async with asking(server.url, "responses", files) as model:
        await model.respond(prompt(*LOG))
        await model.respond(prompt(*LOG, "again"))
    image = {"type": "input_image", "image_url": URL, "detail": "auto"}
    first, _, output = server.requests[0]["input"]
    assert first["content"] == [{"type": "input_text", "text": "What is this?"}, image]
    assert output["output"] == [{"type": "input_text", "text": "a picture"}, image]
    assert files.asked == ["screen.png"], "fetched once"
    assert server.requests[1]["input"][:3] == server.requests[0]["input"]


async def test_images_over_chat_where_tools_can_only_write(server: RawServer) -> None:
    server.answers.append(GOOD["chat"])
    async with asking(server.url, "chat", Files()) as model:
        await model.respond(prompt(*LOG))
    _, first, _, output, shown = server.requests[0]["messages"]
    image = {"type": "image_url", "image_url": {"url": URL}}
    assert first["content"] == [{"type": "text", "text": "What is this?"}, image]
    assert (output["role"], output["content"]) == ("tool", "a picture")
    assert (shown["role"], shown["content"][1]) == ("user", image)


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_a_model_without_eyes_is_told_what_it_cannot_see(server: RawServer, api: Api) -> None:
    said = "Invalid content type. image_url is only supported by certain models."
    server.answers.extend([error(400, said), GOOD[api]])
    files = Files()
    async with asking(server.url, api, files) as model:
        await model.respond(prompt(*LOG))
        await model.respond(prompt(*LOG))
    assert ["base64" in json.dumps(request) for request in server.requests] == [True, False, False]
    assert "[image screen.png: this model takes no images]" in json.dumps(server.requests[-1])


async def test_an_image_that_is_gone_is_told_and_a_worker_that_is_not_wanted_ends(server: RawServer) -> None:
    server.answers.append(GOOD["responses"])
    async with asking(server.url, "responses", Files(problem=Permanent("gone"))) as model:
        await model.respond(prompt(*LOG))
    assert "[image screen.png: it could not be read]" in json.dumps(server.requests[-1])
    async with asking(server.url, "responses", Files(problem=StaleGeneration("old"))) as model:
        with pytest.raises(StaleGeneration):
            await model.respond(prompt(*LOG))


def test_what_no_server_takes_as_an_image_is_a_line_of_text() -> None:
    for file in (
        SCREEN.model_copy(update={"content_type": "image/svg+xml"}),
        SCREEN.model_copy(update={"content_type": "application/pdf"}),
        SCREEN.model_copy(update={"size": images.LARGEST + 1}),
    ):
        part = images.part(file)
        assert part["type"] == "input_text"
        assert "screen.png" in part["text"]
