"""Which bundle this device runs: the configured one, else the installed one, else the one that ships with smartbin."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from smartbin.bundle import Bundle, builtin_bundle_path, read_bundle
from smartbin.bundle_store import BundleStore, default_store, read_trusted


class BundleSettings(BaseModel):
    """Section `[bundles]` of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = Field(default=None, description="installed bundles; default ~/.local/share/smartbin/bundles")
    public_key: str = Field(
        default="", description="as `smartbin bundle key` printed it: only bundles signed with its other half are taken"
    )

    @property
    def store(self) -> BundleStore:
        """The installed bundles."""
        return BundleStore(self.folder or default_store())


def choose_bundle(named: Path | None, settings: BundleSettings) -> Bundle:
    """Read and verify the bundle to run; `BundleError` if it is refused.

    Its signature is asked for where a public key is configured, but not that of the built-in one, which is part of the
    installed program.
    """
    path = named or settings.store.current
    return read_trusted(path, settings.public_key) if path is not None else read_bundle(builtin_bundle_path())
