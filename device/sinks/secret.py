"""Passwords and keys of the configuration: from a file, or from the environment, and never in a log."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from smartbin.errors import ConfigError


def read_secret(value: SecretStr, file: Path | None, where: str) -> str:
    """The value, else the file's first line without its line end; empty if neither is given. `ConfigError`."""
    if value.get_secret_value() or file is None:
        return value.get_secret_value()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "cannot read a secret", where=f"{where}, {file}", found=error, fix="check the file and who may read it"
        ) from error
    if not lines or not lines[0]:
        raise ConfigError("a secret's file is empty", where=f"{where}, {file}", expected="the secret in its first line")
    return lines[0]
