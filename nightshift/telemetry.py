"""Traces and metrics by OpenTelemetry. Where no exporter is configured, as on a laptop, they cost next to nothing.

All spans of a session share one trace, whose id follows from the session's id: a query for it shows requests,
activities, the worker's steps and its tools in order, over days, hosts and machines, though no trace context travels
between them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, TraceFlags

CONNECTION, SIGN_IN = "APPLICATIONINSIGHTS_CONNECTION_STRING", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
"""Where telemetry goes and as whom, in Azure's own words. The first opens nothing: sending wants an identity's role."""

_tracer = trace.get_tracer("nightshift")
_meter = metrics.get_meter("nightshift")

sessions_begun = _meter.create_counter("nightshift.sessions.begun")
sessions_failed = _meter.create_counter("nightshift.sessions.failed")
sessions_now = _meter.create_gauge("nightshift.sessions", description="by phase, as the janitor finds them")
turns = _meter.create_counter("nightshift.turns", description="ended, by outcome")
steps = _meter.create_counter("nightshift.steps", description="model calls, by model")
tokens = _meter.create_counter("nightshift.tokens", description="by model and sort; cached and reasoning are parts")
cost = _meter.create_counter("nightshift.cost", unit="USD", description="of priced models")
tools = _meter.create_counter("nightshift.tools", description="calls, by tool and whether they failed")
errors = _meter.create_counter("nightshift.errors", description="told to users, by code")
workers_silent = _meter.create_counter("nightshift.workers.silent", description="lost and started again")
machines_now = _meter.create_gauge("nightshift.machines", description="by power, as the janitor finds them")
machines_orphaned = _meter.create_gauge("nightshift.machines.orphaned", description="without a session, each round")


def configure(role: str) -> bool:
    """Send to Application Insights, if the environment names one. True if so.

    The exporter signs in as APPLICATIONINSIGHTS_AUTHENTICATION_STRING says. Logs are left to the platform: the
    Functions host sends what a function logs, and a machine's journal is shipped.
    """
    if not os.environ.get(CONNECTION):
        return False
    for name in ("STATSBEAT_DISABLED_ALL", "CONTROLPLANE_DISABLED"):  # calls to Microsoft that serve Microsoft
        os.environ.setdefault(f"APPLICATIONINSIGHTS_{name}", "true")
    # Imported here, because it takes half a second that nobody without an exporter should wait for.
    from azure.monitor import opentelemetry as distribution
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_NAMESPACE, Resource

    # Long polls would be most of what these see. Calls of Azure's own libraries are told.
    others = ("django", "fastapi", "flask", "httpx", "psycopg2", "requests", "urllib", "urllib3")
    quiet: dict[str, Any] = {name: {"enabled": False} for name in others}
    cast(Any, distribution).configure_azure_monitor(
        disable_logging=True,
        sampling_ratio=1.0,  # the default drops spans when many come at once: a trace with holes explains nothing
        enable_live_metrics=False,
        instrumentation_options=quiet,
        resource=Resource.create({SERVICE_NAMESPACE: "nightshift", SERVICE_NAME: role}),
    )
    return True


def trace_of(session_id: str) -> str:
    """The trace id of a session, as Application Insights shows it (operation_Id): 32 hexadecimal digits."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:32]


@contextmanager
def span(session_id: str, name: str, **attributes: str | int | bool) -> Generator[Span]:
    """A span in the session's trace: within the one under way, if that is of the session, else linked to it.

    An exception that leaves it is recorded.
    """
    around = trace.get_current_span().get_span_context()
    inside = around.is_valid and around.trace_id == int(trace_of(session_id), 16)
    with _tracer.start_as_current_span(
        name,
        context=None if inside else trace.set_span_in_context(_root(session_id)),
        links=[] if inside or not around.is_valid else [Link(around)],
        attributes={"nightshift.session": session_id, **attributes},
    ) as begun:
        yield begun


@contextmanager
def invocation(traceparent: str | None) -> Generator[None]:
    """Whatever happens inside belongs to the caller's trace, as W3C's header names it."""
    token = context.attach(propagate.extract({"traceparent": traceparent or ""}))
    try:
        yield
    finally:
        context.detach(token)


def _root(session_id: str) -> Span:
    """A span that nobody records: it only gives the others their trace."""
    digits = trace_of(session_id)
    flags = TraceFlags(TraceFlags.SAMPLED)
    return NonRecordingSpan(SpanContext(int(digits, 16), int(digits[:16], 16), is_remote=True, trace_flags=flags))
