"""Opens the page of a configuration: the one place that the daemon calls. Web libraries are imported only here."""

from __future__ import annotations

import importlib
from typing import Protocol

from device.web.parts import PageParts
from device.web.token import read_token
from smartbin.errors import ConfigError

_LIBRARIES = ("fastapi", "uvicorn", "prometheus_client", "jinja2", "psutil")


class OpenPage(Protocol):
    """A page that is served."""

    def close(self) -> bool:
        """End it; False if something hangs in it and had to be left there. May be called twice."""
        ...


def open_page(parts: PageParts) -> OpenPage:
    """Start the page.

    `ConfigError` for a token that cannot be read and for missing libraries; a port that is in use is no error: it is
    logged and tried again, and the bin goes on.
    """
    settings = parts.config.page
    _need_libraries()
    token = read_token(settings.token_file) if settings.token_file is not None else None
    from device.web.app import make_guarded
    from device.web.context import make_bin
    from device.web.server import PageServer, Served

    def make() -> Served:
        bin_ = make_bin(parts, token)
        return Served(make_guarded(bin_), bin_.feed.close, bin_.let_go)

    server = PageServer(settings.host, settings.port, make)
    server.start()
    return server


def _need_libraries() -> None:
    for library in _LIBRARIES:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise ConfigError(
                "the bin's page needs libraries that are not installed",
                where="[page] enabled",
                found=error,
                fix="pip install 'smartbin[page]'",
            ) from error
