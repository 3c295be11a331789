"""What a person sees who asks with a browser for a path that there is not.

The page has no style and no script, and so no policy of its own: that of every answer forbids all. It does
not repeat the path.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from orchestrator.domain import DISCLAIMER
from orchestrator.edge.http.quality_values import weight

_HTML: Final = "text/html"
_JSON: Final = frozenset({"application/problem+json", "application/json", "application/*", "*/*"})


def prefers_html(accept: str) -> bool:
    """Whether an ``Accept`` header names HTML, and weighs it above JSON: that of a browser does."""
    weights = list(_weights(accept))
    html = max((of for media_type, of in weights if media_type == _HTML), default=0.0)
    return html > max((of for media_type, of in weights if media_type in _JSON), default=0.0)


def render(path: str) -> str:
    """The page, as HTML; its links are relative to ``path``, that of the request within this service, since
    nothing says which prefix a proxy may have taken off it."""
    root = "../" * (path.count("/") - 1) or "./"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<title>Not found: WBC Analyzer</title></head><body><main>"
        "<h1>There is nothing at this address</h1>"
        f"<p><strong>{escape(DISCLAIMER)}</strong></p>"
        "<p>Here is WBC Analyzer:</p><ul>"
        f'<li><a href="{root}">the page</a>, to analyse images</li>'
        f'<li><a href="{root}docs">the documentation</a>, for programs that do</li>'
        "</ul></main></body></html>"
    )


def _weights(accept: str) -> Iterator[tuple[str, float]]:
    for entry in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        yield media_type, weight(next((of for of in parameters if of.startswith("q=")), ""))
