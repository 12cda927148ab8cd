"""Text of users, models and tools as HTML that cannot do harm.

Nothing here trusts its input: markdown is parsed with raw HTML off, its result is cleaned by nh3 all the same,
and everything else is escaped by the templates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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

from nightshift.terminal import terminal_html

MAX_MARKDOWN = 60_000
"""Longer text is shown as it is: parsing it would hold up every other request."""
MAX_SHOWN = 20_000
"""Characters of a tool's input or output on a page. The API has the rest."""

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
    """A tool's input or output in a `pre`. Diffs are coloured, and so is what a program coloured itself."""
    shown = text[:MAX_SHOWN]
    if _DIFF.search(shown):
        return Markup("<pre class=diff>{}</pre>").format(Markup(coloured(shown, "diff")))  # noqa: S704 - Pygments escapes
    return Markup("<pre>{}</pre>").format(terminal_html(shown))


def left_out(text: str) -> int:
    """How many characters `preformatted` does not show."""
    return max(0, len(text) - MAX_SHOWN)


def web_url(url: str) -> str | None:
    """The URL if it is one of the web, so that `javascript:` never gets into an href."""
    return url if re.match(r"https?://", url, re.IGNORECASE) else None
