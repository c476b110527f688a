"""The configuration as the page shows it: every key, its value, where that came from, and no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args, get_origin
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from device.sources import hide_words
from smartbin.config import COMMAND_LINE, ENVIRONMENT

Origin: TypeAlias = Literal["default", "file", "environment", "command line", "page"]
HIDDEN = "••••••"
_SECRET = re.compile(r"password|secret|passphrase|credential", re.IGNORECASE)


class Setting(BaseModel):
    """One key of the configuration."""

    model_config = ConfigDict(frozen=True)

    key: str
    value: str
    default: str
    origin: Origin
    meaning: str


def settings_of(config: BaseModel, origins: Mapping[str, str]) -> list[Setting]:
    """Every key in the order of the sections. `origins` are those of `load_with_origins`."""
    return _walk(type(config), config, "", origins)


def _walk(model: type[BaseModel], values: BaseModel | None, prefix: str, origins: Mapping[str, str]) -> list[Setting]:
    found: list[Setting] = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        value = getattr(values, name) if values is not None else field.get_default(call_default_factory=True)
        below = _model_of(field.annotation)
        if below is not None and (isinstance(value, BaseModel) or value is None):
            found += (
                _walk(below, value, f"{key}.", origins)
                if value is not None
                else [Setting(key=key, value="–", default="–", origin="default", meaning=field.description or "")]
            )
            continue
        default = field.get_default(call_default_factory=True)
        found.append(
            Setting(
                key=key,
                value=_shown(key, value),
                default="" if field.is_required() else _shown(key, default),
                origin=_origin(key, origins),
                meaning=field.description or "",
            )
        )
    return found


def _model_of(annotation: object) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if get_origin(candidate) is None and isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _origin(key: str, origins: Mapping[str, str]) -> Origin:
    place = origins.get(key) or next((place for name, place in origins.items() if name.startswith(f"{key}.")), None)
    if place is None:
        return "default"
    known: dict[str, Origin] = {COMMAND_LINE: "command line", ENVIRONMENT: "environment"}
    return known.get(place, "file")


def _shown(key: str, value: object) -> str:
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else "–"
    if value is None or value in ("", (), {}):
        return "–"
    if _SECRET.search(key.rpartition(".")[2]) and not key.endswith("_file"):
        return HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, tuple, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return hide_in_url(str(value))


def hide_in_url(text: str) -> str:
    """A URL without its user and password, and without what follows the host of a web address: hooks keep keys there.

    Other text is left as it is.
    """
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        if "@" not in parts.netloc and parts.scheme not in ("http", "https"):
            return hide_words(text)
    except ValueError:
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{host}/{HIDDEN if parts.path.strip('/') or parts.query else ''}"
    return hide_words(urlunsplit(parts._replace(netloc=f"{HIDDEN}@{host}")))
