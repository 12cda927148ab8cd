"""What reaches Application Insights, from a process of its own: OpenTelemetry is configured once and for all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nightshift.telemetry import CONNECTION, trace_of
from tests.ingestion import ingestion

ROOT = Path(__file__).parents[2]
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SESSION_AT_WORK = f"""
from nightshift import telemetry
from opentelemetry import metrics, trace

assert telemetry.configure("app")
with telemetry.invocation("{CALLER}"), telemetry.span("s-1", "outer", event="user_message"):
    with telemetry.span("s-1", "inner"):
        pass
    with telemetry.span("s-2", "of another"):
        pass
try:
    with telemetry.span("s-1", "broken"):
        raise ValueError("no good")
except ValueError:
    pass
telemetry.tokens.add(12, {{"model": "m", "sort": "input"}})
telemetry.machines_orphaned.set(0)
trace.get_tracer_provider().force_flush()
metrics.get_meter_provider().force_flush()
"""


def test_spans_of_a_session_share_its_trace(tmp_path: Path) -> None:
    with ingestion() as insights:
        environment = os.environ | insights.environment | {"TMPDIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", SESSION_AT_WORK], cwd=ROOT, env=environment, check=True, timeout=60)

    spans = {each["data"]["baseData"]["name"]: each for each in insights.spans}
    assert {name: each["tags"]["ai.operation.id"] for name, each in spans.items()} == {
        "outer": trace_of("s-1"),
        "inner": trace_of("s-1"),
        "broken": trace_of("s-1"),
        "of another": trace_of("s-2"),
    }
    assert spans["inner"]["tags"]["ai.operation.parentId"] == spans["outer"]["data"]["baseData"]["id"]
    outer = spans["outer"]["data"]["baseData"]["properties"]
    assert (outer["nightshift.session"], outer["event"]) == ("s-1", "user_message")
    assert CALLER.split("-")[1] in outer["_MS.links"]
    assert spans["broken"]["data"]["baseData"]["success"] is False
    assert {each["tags"]["ai.cloud.role"] for each in spans.values()} == {"nightshift.app"}

    metrics = {
        metric["name"]: (metric["value"], each["data"]["baseData"]["properties"])
        for each in insights.came
        if each["data"]["baseType"] == "MetricData"
        for metric in each["data"]["baseData"]["metrics"]
    }
    assert metrics["nightshift.tokens"] == (12, {"model": "m", "sort": "input"})
    assert metrics["nightshift.machines.orphaned"][0] == 0


def test_without_a_connection_nothing_is_loaded() -> None:
    code = (
        "import sys; from nightshift import telemetry; assert not telemetry.configure('app');"
        "assert 'azure.monitor' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name != CONNECTION}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=60)
