"""The operator's webhook: news of all sessions for a program, signed, so that it knows who sends them."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

import httpx

from nightshift.errors import Permanent, Retryable, may_pass
from nightshift.models import Model, Phase
from nightshift.settings import Webhook

SIGNATURE = "X-Nightshift-Signature"


class News(Model):
    """What is posted, as JSON."""

    id: str
    """The same in a repeat, which there may be."""
    at: datetime
    session: str
    owner: str
    title: str
    phase: Phase
    reason: str
    """A `Need`, or `done`."""
    url: str
    """Of the session's page."""


async def deliver(http: httpx.AsyncClient, webhook: Webhook, news: News) -> None:
    """Raises Retryable or Permanent."""
    body = news.model_dump_json().encode()
    signature = hmac.new(webhook.secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", SIGNATURE: f"sha256={signature}"}
    try:
        answer = await http.post(webhook.url, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise Retryable(f"the webhook did not answer: {type(error).__name__}") from error
    if may_pass(answer.status_code):
        raise Retryable(f"the webhook answered {answer.status_code}")
    if not answer.is_success:
        raise Permanent(f"the webhook refused the news: {answer.status_code}", "Look at NIGHTSHIFT_WEBHOOK_URL.")
