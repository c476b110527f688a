"""Renders the page's templates: what every page of a bin shares, and how figures are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from device.web.context import Bin
from device.web.forms import PROOF_FIELD
from device.web.guard import give_cookie
from device.web.sessions import Session
from smartbin import __version__
from smartbin.prediction import probability_text

_UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


@dataclass(frozen=True)
class Tab:
    """One of the page's parts."""

    path: str
    title: str


TABS = (
    Tab("/", "Live"),
    Tab("/label", "Label"),
    Tab("/history", "History"),
    Tab("/counts", "Counts"),
    Tab("/health", "Health"),
    Tab("/model", "Model"),
    Tab("/settings", "Settings"),
)


class Pages:
    """Renders the templates for one bin."""

    def __init__(self, bin_: Bin) -> None:
        self.bin = bin_
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("device.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "moment": _moment,
            "percent": _percent,
            "sure": probability_text,
            "said": _said,
            "bytes": _bytes,
            "lasting": _lasting,
        }
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def show(self, request: Request, name: str, status: HTTPStatus = HTTPStatus.OK, **values: object) -> Response:
        """A page; a browser that has no session gets one with it."""
        session = self.session(request)
        notice, undo = session.notice, session.undo
        session.notice = session.undo = ""
        html = self._templates.get_template(name).render(
            bin_name=self.bin.name,
            version=__version__,
            tabs=TABS,
            path=request.url.path,
            proof=self.bin.sessions.proof(session),
            proof_field=PROOF_FIELD,
            may_leave=self.bin.token.wanted and session.signed_in,
            notice=notice,
            undo=undo,
            **values,
        )
        response = HTMLResponse(html, status)
        if session.fresh:
            give_cookie(response, session, request)
        return response

    def session(self, request: Request) -> Session:
        """The browser's session, a new one if it has none."""
        if request.scope["session"] is None:
            request.scope["session"] = self.bin.sessions.begin()
        found: Session = request.scope["session"]
        return found

    def back(self, request: Request, path: str, notice: str = "", undo: str = "") -> Response:
        """To another page, which tells `notice`, and where it can be undone."""
        if notice and not request.scope["bearer"]:
            session = self.session(request)
            session.notice, session.undo = notice, undo
        return RedirectResponse(path, HTTPStatus.SEE_OTHER)

    def markdown(self, text: str) -> Markup:
        """Markdown as HTML: no HTML of its own passes, and no style that the page's policy would refuse."""
        tokens = self._markdown.parse(text)
        for token in tokens:
            token.attrs.pop("style", None)
            if token.type in ("heading_open", "heading_close"):  # below the page's own headings
                token.tag = f"h{min(6, int(token.tag[1:]) + 2)}"
        return Markup(self._markdown.renderer.render(tokens, self._markdown.options, {}))


def _moment(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, timezone.utc).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _said(kind: str) -> str:
    return {"uncertain": "unsure", "too_dark": "too dark", "too_bright": "too bright"}.get(kind, kind)


def _lasting(seconds: float) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= 2 * size or size == 1)
    return f"{seconds // size:.0f} {unit}"


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
