"""Configuration: a TOML file, the environment and the command line, validated as one pydantic model.

Priority: command line, then environment (`SMARTBIN_SECTION__KEY=value`), then the file, then the defaults. An unknown
key or a wrong value is a `ConfigError` that names where it stands, the key and the value.

Variables that are no configuration may begin with `SMARTBIN_`, too (`SMARTBIN_DATA`): a name is taken for a key if it
has two underscores or begins like a section. All that begins with `SMARTBIN_TRAIN_` is training's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from smartbin.errors import ConfigError

Settings = TypeVar("Settings", bound="SmartbinSettings")

SHARED_PREFIX, TRAIN_PREFIX = "SMARTBIN_", "SMARTBIN_TRAIN_"
_DELIMITER = "__"
COMMAND_LINE, ENVIRONMENT = "the command line", "the environment"


class SmartbinSettings(BaseSettings):
    """Base of every configuration model."""

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix=SHARED_PREFIX, env_nested_delimiter=_DELIMITER, frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` hands in: it knows where each value came from."""
        return (init_settings,)


def load_settings(
    model: type[Settings],
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environment: bool = True,
) -> Settings:
    """Load a configuration of type `model`; `ConfigError` says where a wrong value stands.

    `overrides` are the command line's: dotted keys, for example `{"source.uri": "camera:0"}`; a value of None is left
    out. Without `environment` its variables are not asked, as for a file that holds what was settled before.
    """
    return load_with_origins(model, file, overrides, environment=environment)[0]


def load_with_origins(
    model: type[Settings],
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environment: bool = True,
) -> tuple[Settings, dict[str, str]]:
    """`load_settings`, and where each value that is no default came from: by dotted key, as errors name the place."""
    sources: list[tuple[str, dict[str, object]]] = [
        (COMMAND_LINE, _nested(overrides or {})),
        (ENVIRONMENT, _from_environment(model) if environment else {}),
    ]
    if file is not None:
        sources.append((str(file), _from_file(model, file)))
    merged: dict[str, object] = {}
    origins: dict[str, str] = {}
    for name, values in reversed(sources):
        merged = _merge(merged, values)
        origins |= dict.fromkeys(dotted(values), name)
    try:
        return model.model_validate(merged), origins
    except ValidationError as error:
        raise _config_error(error, model, sources) from error


def _config_error(
    error: ValidationError, model: type[BaseSettings], sources: Sequence[tuple[str, Mapping[str, object]]]
) -> ConfigError:
    """What is wrong first, and in which of the sources it stands."""
    problem = error.errors()[0]
    key = [str(part) for part in problem["loc"]]
    origins = [name for name, values in sources if (_has(values, key) if key else values)] or ["the defaults"]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    message = problem["msg"].removeprefix("Value error, ")
    path = ".".join(key)
    if problem["type"] == "extra_forbidden":
        inside = f"{model.model_config['env_prefix']}SECTION{_DELIMITER}KEY"
        return ConfigError(
            "unknown configuration key" + more,
            where=f"{origins[0]}, key {path}",
            found=_shown(path, problem["input"]),
            expected=f"one of: {', '.join(_known_keys(model, key[:-1]))}",
            fix=f"a key of a section is written {inside}" if origins[0] == ENVIRONMENT and len(key) == 1 else None,
        )
    if problem["type"] == "missing":
        return ConfigError(f"missing configuration key{more}: {path}")
    if problem["type"] == "value_error" and isinstance(problem["input"], Mapping):  # the message names its keys
        where = ", ".join([*origins, *([f"key {path}"] if key else [])])
        return ConfigError(f"wrong configuration{more}: {message}", where=where)
    return ConfigError(
        "wrong configuration value" + more,
        where=f"{origins[0]}, key {path}",
        found=_shown(path, problem["input"]),
        expected=message,
    )


def _shown(path: str, value: object) -> str:
    """A wrong value for a message, unless its key says that it is secret: messages end up in logs."""
    return "(not shown)" if re.search("pass|pasw|secret|token", path, re.IGNORECASE) else repr(value)


def dotted(values: Mapping[str, object]) -> dict[str, object]:
    """Every value of nested tables by its dotted key, as `overrides` names it."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{below}": held for below, held in dotted(value).items()}
        else:
            flat[key] = value
    return flat


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    result: dict[str, object] = {}
    for dotted, value in flat.items():
        if value is None:
            continue
        nested: object = value
        for part in reversed(dotted.split(".")):
            nested = {part: nested}
        assert isinstance(nested, dict)
        result = _merge(result, nested)
    return result


def _merge(base: dict[str, object], over: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _has(values: object, key: list[str]) -> bool:
    for part in key:
        if not isinstance(values, Mapping):
            return True  # what is wrong is a part of this value, such as one of a list
        if part not in values:
            return False
        values = values[part]
    return bool(key)


def _known_keys(model: type[BaseSettings], path: list[str]) -> list[str]:
    fields = model.model_fields
    for part in path:
        annotation = fields[part].annotation if part in fields else None
        fields = getattr(annotation, "model_fields", {})
    return sorted(fields)


def _from_environment(model: type[BaseSettings]) -> dict[str, object]:
    try:
        return {**_unknown_variables(model), **EnvSettingsSource(model)()}
    except ValueError as error:  # pydantic-settings: a value that should be JSON and is not
        names = [name for name in os.environ if name.upper().startswith(SHARED_PREFIX)]
        raise ConfigError("cannot read the environment", where=", ".join(names), found=error) from error


def _unknown_variables(model: type[BaseSettings]) -> dict[str, object]:
    """Variables that are meant for this model but are no key of it, for the validation to refuse."""
    prefix = str(model.model_config["env_prefix"])
    unknown: dict[str, object] = {}
    for name, value in os.environ.items():
        upper = name.upper()
        key = upper.removeprefix(prefix).lower()
        if not upper.startswith(prefix) or key.split(_DELIMITER)[0] in model.model_fields:
            continue
        like_a_key = _DELIMITER in key or key.startswith(tuple(f"{field}_" for field in model.model_fields))
        if prefix != SHARED_PREFIX or (like_a_key and not upper.startswith(TRAIN_PREFIX)):
            unknown[key] = value
    return unknown


def _from_file(model: type[BaseSettings], file: Path) -> dict[str, object]:
    if not file.is_file():
        raise ConfigError("no configuration file here", where=file, expected="a TOML file")
    try:
        loaded = InitSettingsSource(model, TomlConfigSettingsSource(model, file).toml_data)
        return dict(loaded.init_kwargs)
    except ValueError as error:  # tomllib.TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError("the configuration file is not valid TOML", where=file, found=error) from error
