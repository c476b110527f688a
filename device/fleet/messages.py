"""What is said between the fleet's desk and a bin: one JSON object a message, read strictly by both sides.

A command goes to `PREFIX/NAME/command`, its answers come on `PREFIX/NAME/answer` and carry its id: progress while it is
at it, then one that is final.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

CommandName: TypeAlias = Literal["ping", "install", "rollback"]
Phase: TypeAlias = Literal["accepted", "fetching", "testing", "done", "failed", "refused"]
FINAL: frozenset[Phase] = frozenset({"done", "failed", "refused"})
COMMAND_BYTES = 16 * 1024  # a longer message is no command


class BundleName(BaseModel):
    """Which bundle; `sha256` is that of its manifest, which holds the hash of every other file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    version: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip() + (f" {self.sha256[:8]}" if self.sha256 else "")


class Command(BaseModel):
    """An order to one bin. After `expires` it is not to be carried out any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    command: CommandName
    expires: AwareDatetime
    url: str = Field(default="", max_length=4096)
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return check_url(url) if url else url

    @model_validator(mode="after")
    def _check(self) -> Command:
        if (self.command == "install") != bool(self.url) or bool(self.url) != bool(self.sha256):
            raise ValueError("install, and only install, has a url and a sha256")
        return self


class Answer(BaseModel):
    """What a bin says to a command. `bundle` is what it has installed, or gone back to; `ping`: what runs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    device: str
    command: str
    phase: Phase
    detail: str = ""
    bundle: BundleName | None = None
    activation: Literal["running", "reloading", "next_start"] | None = None
    version: str = ""
    time: AwareDatetime

    @property
    def final(self) -> bool:
        """Whether no other comes after it."""
        return self.phase in FINAL


def new_command(command: CommandName, expires: datetime, fields: Mapping[str, str] | None = None) -> Command:
    """A command with an id of its own; `fields` are `url` and `sha256` of an installation."""
    return Command.model_validate(
        {"id": secrets.token_hex(16), "command": command, "expires": expires, **(fields or {})}
    )


def check_url(url: str) -> str:
    """The URL, if a bin may fetch it; else `ValueError`."""
    parts = urlsplit(url)  # ValueError for what is none
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a bin fetches http:// and https:// only")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user or password in the URL: every listener of the broker could read it")
    if any(character <= " " for character in url):
        raise ValueError("a URL has no spaces or line ends")
    return url


def shown_url(url: str) -> str:
    """The URL without its query, which may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
