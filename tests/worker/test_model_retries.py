"""A model server that fails in every way: asked again as long as it makes sense, and never half believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from demo.model import Fault, ScriptedModel
from demo.streams import chat_events, response_events
from tests.worker.asking import Api, Shown, asking, prompt
from tests.worker.rawserver import Raw, RawServer, answer, error, page, sse
from worker.model import ModelFault, patience
from worker.model.faults import retry_after

APIS: tuple[Api, ...] = ("responses", "chat")
SAID = "The answer is forty-two, and it is long enough to come in several pieces."
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": SAID, "annotations": []}],
}
RESPONSE: dict[str, Any] = {"id": "resp_1", "status": "completed", "output": [MESSAGE], "usage": USAGE}
COMPLETION: dict[str, Any] = {
    "id": "c1",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


def events(api: Api) -> list[dict[str, Any]]:
    return list(chat_events(COMPLETION) if api == "chat" else response_events(RESPONSE))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.002)


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[RawServer]:
    async with RawServer().running() as server:
        yield server


def text(output: list[dict[str, Any]]) -> str:
    return "".join(part["text"] for item in output for part in item.get("content", []))


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_is_shown_as_it_grows_and_kept_whole(server: RawServer, api: Api) -> None:
    server.answers.append(sse(*events(api)))
    shown = Shown()
    async with asking(server.url, api) as model:
        reply = await model.respond(prompt("?"), shown)
    assert text(reply.output) == SAID
    assert (reply.tokens.input, reply.tokens.output, reply.tokens.calls) == (10, 5, 1)
    grown = shown.of("text")
    assert len(grown) > 3
    assert grown[-1] == SAID
    assert all(later.startswith(earlier) for earlier, later in pairwise(grown))


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_cut_after_any_event_is_asked_for_again(server: RawServer, api: Api) -> None:
    said = events(api)
    # What says that it is whole: the last event of the Responses API, the chunk before the usage in the other.
    whole = len(said) - (1 if api == "chat" else 0)
    async with asking(server.url, api) as model:
        for cut in range(whole):
            server.requests.clear()
            server.answers.extend([sse(*said[:cut], done=False), sse(*said)])
            reply = await model.respond(prompt("?"))
            assert (text(reply.output), reply.tokens.calls, len(server.requests)) == (SAID, 1, 2), cut
            server.answers.clear()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("api", APIS)
async def test_a_connection_lost_in_the_middle_of_a_byte_stream(server: RawServer, api: Api, reset: bool) -> None:
    content = sse(*events(api)).content
    usage = content.index(b'"usage": {')  # behind it the answer is complete, if not the stream
    async with asking(server.url, api) as model:
        for cut in (0, 5, 60, content.index(b"\r\n\r\n") + 4, len(content) // 3, len(content) // 2, usage - 200):
            server.requests.clear()
            server.answers.extend([Raw(content[:cut], reset), Raw(content)])
            reply = await model.respond(prompt("?"))
            assert (text(reply.output), len(server.requests)) == (SAID, 2), cut
            server.answers.clear()


@pytest.mark.parametrize("api", APIS)
async def test_there_is_one_retry_layer_and_it_has_a_limit(server: RawServer, api: Api) -> None:
    server.answers.append(error(503, "overloaded"))
    async with asking(server.url, api) as model:
        with pytest.raises(ModelFault, match=r"overloaded.*Given up after 15 tries") as fault:
            await model.respond(prompt("?"))
    assert fault.value.code == "model_unavailable"
    assert len(server.requests) == patience.TRIES == 15


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_passing_statuses_are_asked_again(server: RawServer, status: int) -> None:
    server.answers.extend([error(status, "not now"), error(status, "not now"), sse(*events("responses"))])
    async with asking(server.url, "responses") as model:
        assert text((await model.respond(prompt("?"))).output) == SAID
    assert len(server.requests) == 3


async def test_a_server_may_say_that_trying_again_is_of_no_use(server: RawServer) -> None:
    server.answers.append(error(500, "never", x_should_retry="false"))
    async with asking(server.url, "responses") as model:
        with pytest.raises(ModelFault, match="never"):
            await model.respond(prompt("?"))
    assert len(server.requests) == 1


async def test_failures_within_a_stream(server: RawServer) -> None:
    response = {"error": {"code": "server_error", "message": "oops"}, "usage": {"input_tokens": 7, "output_tokens": 1}}
    failed = {"type": "response.failed", "response": response}
    wrapped = {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow down"}}
    bare = {"type": "error", "code": "server_error", "message": "oops"}
    server.answers.extend(
        [sse(failed), sse(wrapped), sse(bare), sse({"error": {"message": "x"}}), sse(*events("responses"))]
    )
    async with asking(server.url, "responses") as model:
        reply = await model.respond(prompt("?"))
    assert text(reply.output) == SAID
    assert len(server.requests) == 5
    assert (reply.tokens.input, reply.tokens.calls) == (17, 2), "what the server counted for the failed try is paid too"


async def test_nobody_there() -> None:
    async with RawServer().running() as gone:
        url = gone.url
    async with asking(url, "responses") as model:
        with pytest.raises(ModelFault, match=f"{url} does not answer .*Given up after") as fault:
            await model.respond(prompt("?"))
    assert fault.value.code == "model_unavailable"


async def test_a_wait_that_is_too_long_is_not_begun(server: RawServer) -> None:
    server.answers.append(error(429, "quota", retry_after="3600"))
    async with asking(server.url, "responses") as model:
        with pytest.raises(ModelFault, match=r"left alone for 3,600 s\. Given up after 1 tries"):
            await model.respond(prompt("?"))
    assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [{"retry_after": "40"}, {"retry_after_ms": "40000"}])
async def test_a_long_wait_is_shown_and_can_be_cancelled(server: RawServer, headers: dict[str, str]) -> None:
    server.answers.append(error(429, "too many", **headers))
    shown, seen = Shown(), asyncio.Event()

    def show(number: int, kind: Any, text: str) -> None:
        shown(number, kind, text)
        seen.set()

    async with asking(server.url, "responses") as model:
        asked = asyncio.create_task(model.respond(prompt("?"), show))
        await asyncio.wait_for(seen.wait(), 20)
        assert not asked.done()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    (waiting,) = shown.of("wait")
    assert "limits the rate" in waiting
    assert 40 <= int(waiting.split()[-2]) <= 44, "what it asked for and up to a tenth more"


async def test_an_answer_that_hangs_can_be_cancelled(server: RawServer) -> None:
    model_server = ScriptedModel(faults=[Fault(hang=True)])
    await model_server.start()
    async with asking(model_server.url, "responses") as model:
        asked = asyncio.create_task(model.respond(prompt("?")))
        async with asyncio.timeout(20):
            while not model_server.requests:
                await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    await model_server.stop()


@pytest.mark.parametrize("api", APIS)
async def test_what_is_no_answer_at_all_is_told_at_once(server: RawServer, api: Api) -> None:
    async with asking(server.url, api) as model:
        for junk in (page("<h1>Welcome to the proxy</h1>"), answer(200, {"hello": "world"}), answer(200, [])):
            server.answers.append(junk)
            server.requests.clear()
            with pytest.raises(ModelFault, match=r"is not a (Responses API|Chat Completions) one"):
                await model.respond(prompt("?"))
            assert len(server.requests) == 1
            server.answers.clear()


@pytest.mark.parametrize("api", APIS)
async def test_broken_json_is_asked_for_again(server: RawServer, api: Api) -> None:
    half = answer(200, {"a": "b"}).content.replace(b'"}', b'"]')
    server.answers.extend([sse("{not json"), Raw(half), sse(*events(api))])
    async with asking(server.url, api) as model:
        assert text((await model.respond(prompt("?"))).output) == SAID
    assert len(server.requests) == 3


def test_retry_after_in_all_its_forms() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (retry_after({"retry-after": soon}) or 0) <= 90
    assert retry_after({"retry-after": format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)}) == 0
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "9", "retry-after-ms": "250"}) == 0.25
    assert retry_after({"retry-after": "9", "retry-after-ms": "x"}) == 9
    for nonsense in (
        {},
        {"retry-after": "soon"},
        {"retry-after": "-1"},
        {"retry-after": "inf"},
        {"retry-after": "nan"},
    ):
        assert retry_after(nonsense) is None
