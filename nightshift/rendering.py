"""Text of users, models and tools as HTML that cannot do harm, and the log's items as rows of a page.

Nothing here trusts its input: markdown is parsed with raw HTML off, its result is cleaned by nh3 all the same,
and everything else is escaped by the templates.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name  # pyright: ignore[reportUnknownVariableType]
from pygments.util import ClassNotFound

from nightshift.gist import arguments as call_arguments
from nightshift.gist import gist, shortened
from nightshift.models import Item, ItemKind

MAX_MARKDOWN = 60_000
"""Longer text is shown as it is: parsing it would hold up every other request."""
MAX_SHOWN = 20_000
"""Characters of a tool's input or output on a page. The API has the rest."""
MAX_LINE = 140

_TEXT = {"p", "br", "hr", "blockquote", "pre", "code", "span", "em", "strong", "s", "a", "ul", "ol", "li"}
_TAGS = _TEXT | {"h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}
_ATTRIBUTES = {"a": {"href", "title"}, "code": {"class"}, "span": {"class"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}
_DIFF = re.compile(r"^--- .*\n\+\+\+ .*\n@@ ", re.MULTILINE)


def coloured(code: str, language: str) -> str:
    """Escaped code with Pygments' classes (the stylesheet has their colours), or "" if the language is unknown."""
    if not language or len(code) > MAX_SHOWN:
        return ""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    return highlight(code, lexer, HtmlFormatter(nowrap=True, classprefix="hl-"))


def _highlight(code: str, language: str, _attributes: str) -> str:
    return coloured(code, language)


def _image(_self: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """A link instead: the policy of the pages loads no foreign image, and so no foreign beacon."""
    return f'<a href="{escape(tokens[index].attrGet("src") or "")}">{escape(tokens[index].content or "image")}</a>'


_markdown = MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True, "highlight": _highlight})
_markdown.enable(["table", "strikethrough", "linkify"])
# Only with a scheme: CHANGELOG.md is a file, not a site in Moldova.
cast(Any, _markdown.linkify).set({"fuzzy_link": False, "fuzzy_email": False})
_markdown.add_render_rule("image", _image)


def markdown(text: str) -> Markup:
    """GitHub's markdown as safe HTML: no raw HTML, no image, links only to the web and mail, in a new tab."""
    if len(text) > MAX_MARKDOWN:
        return Markup("<pre>{}</pre>").format(text)
    html = nh3.clean(
        _markdown.render(text),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    # Wide tables scroll in their own box, so that a phone's page does not.
    html = html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return Markup(html)  # noqa: S704 - cleaned above


def preformatted(text: str) -> Markup:
    """A tool's input or output in a `pre`, diffs coloured, cut at MAX_SHOWN with a note."""
    shown = text[:MAX_SHOWN]
    inner = Markup(coloured(shown, "diff")) if _DIFF.search(shown) else escape(shown)  # noqa: S704 - Pygments escapes
    html = Markup("<pre>{}</pre>").format(inner)
    if len(text) > MAX_SHOWN:
        html += Markup('<p class="note">Cut here: {:,} more characters.</p>').format(len(text) - MAX_SHOWN)
    return html


def web_url(url: str) -> str | None:
    """The URL if it is one of the web, so that `javascript:` never gets into an href."""
    return url if re.match(r"https?://", url, re.IGNORECASE) else None


@dataclass
class Row:
    """What a page shows of one item; a tool's call and its output are one."""

    item: Item
    output: Item | None = None

    @property
    def state(self) -> str:
        """Of a tool: running, ok or error."""
        output = self.item if self.item.kind is ItemKind.TOOL_OUTPUT else self.output
        if output is None:
            return "running"
        return "error" if output.is_error else "ok"

    @property
    def line(self) -> str:
        """What a call does, in one line: the argument that says most."""
        return shortened(gist(self.item.arguments), MAX_LINE)

    @property
    def input(self) -> str:
        """A call's arguments for reading: text as it is, not as JSON escapes it."""
        arguments = call_arguments(self.item.arguments)
        if not arguments:
            return gist(self.item.arguments)
        if len(arguments) == 1:
            return _plain(*arguments.values())
        return "\n".join(_named(name, _plain(value)) for name, value in arguments.items() if value is not None)


def rows(items: Iterable[Item]) -> list[Row]:
    """Rows in order of seq; `items` come in that order. An output without its call stands alone."""
    result: list[Row] = []
    calls: dict[str | None, Row] = {}
    for item in items:
        if item.kind is ItemKind.TOOL_OUTPUT and item.call_id in calls:
            calls[item.call_id].output = item
            continue
        result.append(Row(item))
        if item.kind is ItemKind.TOOL_CALL:
            calls[item.call_id] = result[-1]
    return result


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, str) for part in cast(list[object], value)):
        return shlex.join(cast(list[str], value))
    return json.dumps(value, ensure_ascii=False, indent=2) if value is not None else ""


def _named(name: str, value: str) -> str:
    return f"{name}:\n{value}" if "\n" in value else f"{name}: {value}"
