"""Libraries that only some sinks need: imported when such a sink is opened, never before."""

from __future__ import annotations

import importlib
from types import ModuleType

from smartbin.errors import ConfigError


def need_library(module: str, extra: str, section: str) -> ModuleType:
    """Import a module; `ConfigError` with what to install if it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            "what is configured lacks its library",
            where=section,
            found=error,
            expected=f"the Python module {module}",
            fix=f"pip install 'smartbin[{extra}]', or enabled = false",
        ) from error
