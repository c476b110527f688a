"""Section `[page]` of the configuration. Imports no web library: it is read with the page switched off, too."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator


class PageSettings(BaseModel):
    """Whether the bin has a page, who may reach it, and what it may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="serve the page, /api, /metrics, /healthz and /readyz")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address to listen on; any but this machine's own wants token_file",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="0: any that is free, said on stderr")
    token_file: Path | None = Field(
        default=None, description="its first line is the password of the page and the API's bearer token"
    )
    names: tuple[str, ...] = Field(
        default=(), description="names that the page is reached by, beside addresses, localhost and the host's own"
    )
    viewers: int = Field(default=4, ge=1, le=32, description="live pictures that are sent at once, at most")
    fps: float = Field(default=8.0, gt=0, le=30, description="live pictures a second, at most")
    width: int = Field(default=640, ge=64, le=1920, description="width of a live picture, pixels, at most")
    quality: int = Field(default=75, ge=30, le=95, description="JPEG quality of a live picture")
    requests_per_s: float = Field(
        default=50.0, ge=0, description="requests of one address that are answered, a second on average; 0: all of them"
    )
    upload_mb: int = Field(
        default=256,
        ge=0,
        le=4096,
        description="largest bundle that may be sent to it, if [bundles] public_key says whose are taken; 0: none",
    )
    bundles_from: Path | None = Field(
        default=None, description="folder of bundles that may be installed from the page; left out: none"
    )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @model_validator(mode="after")
    def _check_token(self) -> PageSettings:
        if self.enabled and not self.loopback and self.token_file is None:
            raise ValueError(
                f"host {self.host} can be reached by others, so token_file must be set: "
                "umask 077; openssl rand -hex 24 > token"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own; of the names only `localhost` is."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
