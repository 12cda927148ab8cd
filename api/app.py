"""The HTTP application: routers, problems, limits, and its own description at /openapi.json."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.routing import APIRoute

from api import agents, audit, devices, files, health, keys, pages, preferences, sessions, worker
from api.described import describe
from api.limits import BodyLimit, PrivateAnswers
from api.problems import Problem, UnexpectedErrors, add_problem_handlers
from api.rates import Rates
from nightshift import __version__
from nightshift.services import Services

_TAGS = [
    {"name": "sessions", "description": "Begin, look at, talk to and steer sessions."},
    {"name": "keys", "description": "API keys for programs of yours."},
    {"name": "agents", "description": "Agents of your own making, and the team's."},
    {"name": "preferences", "description": "What each person keeps between visits."},
    {"name": "devices", "description": "Browsers that tell you when a session needs you."},
    {"name": "audit", "description": "Who did what."},
    {"name": "worker", "description": "What the agent on a session's machine uses."},
    {"name": "health", "description": "For load balancers and monitors."},
]


def create_api(services: Callable[[], Services], rates: Rates | None = None) -> FastAPI:
    """`services` is asked at each request, so that importing the app needs no settings."""
    app = FastAPI(
        title="Nightshift",
        version=__version__,
        openapi_tags=_TAGS,
        docs_url=None,  # the documentation pages load their scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        responses={"default": {"model": Problem, "description": "What was wrong, and what to do about it"}},
    )
    app.state.services = services
    app.state.rates = rates or Rates()
    app.add_middleware(BodyLimit)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)  # neither host does it; a chat is 10:1
    app.add_middleware(PrivateAnswers)  # added last, so outermost: its headers are on refusals as well
    add_problem_handlers(app)
    settings = (keys.router, agents.router, preferences.router, devices.router)
    routers = (health.router, sessions.router, files.people, *settings)
    for router in (*routers, audit.router, worker.router, files.workers, pages.router):
        app.include_router(router)
    app.openapi = lambda: describe(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
