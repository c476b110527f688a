"""A `Document` as one HTML file that needs nothing else: pictures and style inside, no script, nothing requested.

The template is `train/report/templates/page.html`. Jinja escapes everything, and a Content-Security-Policy in the page
forbids every request.
"""

from __future__ import annotations

import base64
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from train.report.document import Block, Document, Facts, Gallery, Picture, Table

_TEMPLATE = "page.html"


def to_html(document: Document) -> str:
    """The text of the file."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(data_url=_data_url)
    environment.tests.update(facts=_is_facts, table=_is_table, picture=_is_picture, gallery=_is_gallery)
    source = files("train.report").joinpath("templates", _TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(document=document)


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _is_facts(block: Block) -> bool:
    return isinstance(block, Facts)


def _is_table(block: Block) -> bool:
    return isinstance(block, Table)


def _is_picture(block: Block) -> bool:
    return isinstance(block, Picture)


def _is_gallery(block: Block) -> bool:
    return isinstance(block, Gallery)
