"""The worker protocol: what the agent on a session's machine reads and writes, with a token for that session only.

Every write carries the token's generation, so that a machine that was replaced can no longer act.
"""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from api import budget
from api.auth import WORKER_SCHEME, Worker
from api.dependencies import After, DoorbellDep, ServicesDep, Wait, poll
from nightshift import telemetry
from nightshift.agents import read_snapshot
from nightshift.blobs import demand
from nightshift.errors import Forbidden, StaleGeneration, Unprocessable
from nightshift.mcp import joined
from nightshift.models import (
    Draft,
    GitHubToken,
    Grant,
    ItemKind,
    ItemsPage,
    Model,
    NewItem,
    NewReport,
    ReportKind,
    Reservation,
    Stream,
    WorkerConfig,
)
from nightshift.people import preferences
from nightshift.pricing import PriceTable, price_steps

router = APIRouter(prefix="/api/worker", tags=["worker"], dependencies=WORKER_SCHEME)
_PAGE = 200


class NewItems(Model):
    items: Annotated[list[NewItem], Field(min_length=1, max_length=50)]


class StoredItem(Model):
    id: str
    seq: int


class StoredItems(Model):
    items: list[StoredItem]


class StoredReport(Model):
    seq: int | None
    """None for `progress`, which is no entry of the log."""


class TokenRequest(Model):
    repository: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    renew: bool = False
    """GitHub refused the token that was given last."""


@router.get("/session", summary="What to be")
async def get_worker_config(worker: Worker, services: ServicesDep) -> WorkerConfig:
    settings, session = services.settings, await services.log.session(worker.session_id)
    request, owner = session.request, await preferences(services.store, session.owner)
    kept = await read_snapshot(services.store, session.id) if session.agent else None
    model = request.model or settings.model
    return WorkerConfig(
        session_id=worker.session_id,
        generation=worker.generation,
        endpoint=settings.endpoint,
        model=model,
        effort=request.effort,
        repository=request.repository,
        common_prompt="\n\n".join(filter(None, (settings.common_prompt, owner.prompt))),
        agent_prompt=kept.agent.prompt if kept else "",
        tools=kept.agent.tools if kept else None,
        github_api_url=settings.github_api_url,
        github_host=settings.github_host,
        mcp=joined(settings.mcp, kept.agent.mcp, kept.values) if kept else settings.mcp,
        keeps_files=not settings.container_pool,
        max_steps=settings.max_steps,
        turn_seconds=settings.turn_seconds,
        session_steps=settings.session_steps,
        session_seconds=settings.session_seconds,
        context_window=settings.context_window or WorkerConfig.model_fields["context_window"].default,
        context_windows={} if settings.context_window else _windows(services.prices, model),
        price_steps=price_steps(services.prices),
        telemetry=settings.telemetry,
        heartbeat_seconds=_heartbeat(settings.deadlines.silence.total_seconds()),
    )


@router.get("/items", summary="Read items and controls; wait for what is new")
async def list_worker_items(
    worker: Worker, services: ServicesDep, after: After = 0, control_after: After = 0, wait: Wait = 0
) -> ItemsPage:
    log, session_id = services.log, worker.session_id
    seen = after

    async def look() -> bool:
        """A worker knows what it wrote itself, and need not be woken by it."""
        nonlocal seen
        new = await log.items(session_id, seen, _PAGE)
        seen = new[-1].seq if new else seen
        others = any(item.generation != worker.generation for item in new)
        return others or bool(await log.controls(session_id, control_after, 1))

    if wait:
        await poll(look, bool, wait)
    items = await log.items(session_id, after, _PAGE)
    controls = await log.controls(session_id, control_after, _PAGE)
    return ItemsPage(items=items, controls=controls, last_seq=await log.last_seq(session_id, Stream.ITEM))


@router.post("/items", summary="Append to the conversation")
async def append_worker_items(new: NewItems, worker: Worker, services: ServicesDep) -> StoredItems:
    for item in new.items:
        if item.kind is ItemKind.USER_MESSAGE:
            raise Forbidden("A worker cannot speak for the user")
        if item.generation not in (None, worker.generation):
            raise Unprocessable(f"Item '{item.id}' is of generation {item.generation}, the token of another")
        _must_be_readable_again(item)
    await demand(services.blobs, worker.session_id, [file for item in new.items for file in item.files])
    stored: list[StoredItem] = []
    for item in new.items:
        own = item.model_copy(update={"generation": worker.generation})
        seq = (await services.log.append_item(worker.session_id, own)).seq
        stored.append(StoredItem(id=item.id, seq=seq))
        if item.kind is ItemKind.TOOL_OUTPUT:
            telemetry.tools.add(1, {"tool": item.name or "", "failed": item.is_error})
    last_seq = max(item.seq for item in stored)
    if any(item.code == budget.EXHAUSTED for item in new.items):
        message = await budget.go_on(services, worker.session_id)
        last_seq = message.seq if message else last_seq
    await services.live.hint(worker.session_id, last_seq)
    return StoredItems(items=stored)


@router.post("/reports", status_code=202, summary="Tell about the turn")
async def report_turn(report: NewReport, worker: Worker, services: ServicesDep, doorbell: DoorbellDep) -> StoredReport:
    log, session_id = services.log, worker.session_id
    if report.generation != worker.generation:
        raise StaleGeneration("The report's generation is not the token's; this worker must exit")
    last_seq = await log.last_seq(session_id, Stream.ITEM)
    if report.through_seq > last_seq:
        # Taken at its word, it would mark messages as served that nobody has written yet.
        raise Unprocessable(f"through_seq is {report.through_seq}, but the newest item is {last_seq}")
    await log.record_usage(session_id, report.usage)
    await budget.settle(services, session_id)
    if report.kind is ReportKind.PROGRESS:
        await log.beat(session_id, report)
        return StoredReport(seq=None)
    stored = await log.append_report(session_id, report)
    if report.kind is not ReportKind.STARTED:
        telemetry.turns.add(1, {"outcome": report.kind.value})
    await log.beat(session_id, report)
    await doorbell.ring(session_id, "worker_report")
    await services.live.hint(session_id, last_seq)
    return StoredReport(seq=stored.seq)


@router.post("/drafts", status_code=204, summary="Show what the model is writing")
async def show_draft(draft: Draft, worker: Worker, services: ServicesDep) -> None:
    """Goes to whoever has the page open, and is kept nowhere."""
    await services.live.draft(worker.session_id, draft)


@router.post("/reservations", summary="Reserve a model call against the session's budget")
async def reserve_model_call(wanted: Reservation, worker: Worker, services: ServicesDep) -> Grant:
    """402 when the budget does not pay for it; the problem's detail is for the user."""
    return await budget.reserve(services, worker, wanted)


@router.post("/github-token", summary="Get a token for git and the GitHub API")
async def get_github_token(wanted: TokenRequest, worker: Worker, services: ServicesDep) -> GitHubToken:
    return await services.github.token(wanted.repository, renew=wanted.renew)


def _must_be_readable_again(item: NewItem) -> None:
    """`raw` is free JSON, and Python's takes more than others: one such item would break every later read."""
    try:
        item.model_dump_json()  # too deep
        json.dumps(item.raw, ensure_ascii=False, allow_nan=False).encode()  # NaN, half a surrogate pair
    except ValueError as error:
        raise Unprocessable(f"Item '{item.id}' holds what JSON cannot: {error}") from error


def _windows(prices: PriceTable, model: str) -> dict[str, int]:
    """Of all models that a message may choose, and of the session's own, which may be a dated version."""
    found = {name: prices.find(name) for name in (*prices.models, *prices.deployments, model)}
    return {name: price.window for name, price in found.items() if price and price.window}


def _heartbeat(silence: float) -> float:
    """Several beats fit into the time after which a worker counts as lost, even when that is a few seconds."""
    return min(max(1.0, silence / 6), silence / 4)
