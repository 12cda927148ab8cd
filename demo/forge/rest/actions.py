"""Runs of workflows. Nothing runs here: `Forge.start_workflow` and `Forge.finish_job` tell what happened."""

from starlette.responses import JSONResponse, RedirectResponse, Response

from demo.forge.errors import not_found
from demo.forge.rest.call import Call
from demo.forge.shapes import conversation as shapes
from demo.forge.shapes.links import node_id
from demo.forge.shapes.repositories import repository
from demo.forge.state import State


async def runs(call: Call) -> Response:
    """Newest first."""
    wanted = call.query("head_sha")
    found = [it for it in reversed(call.state.records.workflow_runs) if it.repository == call.name]
    found = [it for it in found if wanted in ("", it.head_sha)]
    part, headers = call.page(found)
    home = repository(call.links, call.repository, call.state.records, call.viewer, brief=True)
    answer = {
        "total_count": len(found),
        "workflow_runs": [shapes.workflow_run(call.links, home, it) for it in part],
    }
    return JSONResponse(answer, headers=headers)


async def job_log(call: Call) -> Response:
    job = call.by_id([it for it in call.state.records.check_runs if it.workflow_run])
    return RedirectResponse(f"{call.links.html}/logs/{node_id('Log', job.id)}", 302)


def log_of(state: State, key: str) -> str:
    for job in state.records.check_runs:
        if job.workflow_run and node_id("Log", job.id) == key:
            return job.log
    raise not_found()
