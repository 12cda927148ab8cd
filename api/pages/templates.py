"""Templates with what they all need: words, static files, filters; and how a browser wants its pages to look."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.pages.assets import modules, static
from nightshift import rendering
from nightshift.models import UsageTotal
from nightshift.ports import Order
from nightshift.words import LANGUAGES, asked, words

TEMPLATES = Path(__file__).parents[2] / "web" / "templates"
THEMES = ("auto", "light", "dark")
ORDERS: tuple[Order, ...] = ("created", "active", "cost", "title")


@dataclass(frozen=True)
class Look:
    """This browser's wishes. They are cookies, so that the first paint is right already."""

    language: str = "en"
    theme: str = "auto"
    rail: str = "open"
    order: Order = "created"
    """Of the list of sessions."""


def look_of(request: Request) -> Look:
    """A cookie counts if it is one of the values that we know."""

    def chosen(name: str, values: tuple[str, ...], otherwise: str) -> str:
        value = request.cookies.get(f"nightshift_{name}", "")
        return value if value in values else otherwise

    return Look(
        asked(request.cookies, request.headers) or Look.language,
        chosen("theme", THEMES, "auto"),
        chosen("rail", ("open", "closed"), "open"),
        cast(Order, chosen("order", ORDERS, "created")),
    )


def keep(response: Response, name: str, value: str, request: Request) -> None:
    """A wish of this browser, for a year: what page.js does for those that it changes itself."""
    secure = request.url.scheme == "https"
    response.set_cookie(f"nightshift_{name}", value, max_age=31_536_000, samesite="lax", secure=secure)


def cost(usage: UsageTotal, unpriced: str = "unpriced") -> str:
    """Never 0 for what has no price."""
    return unpriced if usage.cost_usd is None else money(usage.cost_usd)


def money(usd: float) -> str:
    return "<$0.01" if 0 < usd < 0.01 else f"${usd:,.2f}"


def short(count: int) -> str:
    """1234567 -> 1.2M"""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + unit
    return str(count)


def render(look: Look, template: str, **context: Any) -> Markup:
    environment = _environment(look.language)
    return Markup(environment.get_template(template).render(look=look, **context))  # noqa: S704 - the templates escape


@lru_cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "markdown": rendering.markdown,
        "preformatted": rendering.preformatted,
        "left_out": rendering.left_out,
        "web_url": rendering.web_url,
        "cost": cost,
        "money": money,
        "short": short,
    }
    functions: dict[str, Any] = {
        "static": static,
        "modules": modules,
        "t": words(language),
        "languages": LANGUAGES,
        "themes": THEMES,
    }
    environment.filters.update(filters)
    environment.globals.update(functions)
    return environment
