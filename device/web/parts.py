"""What the daemon hands to its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from device.clock import Clock
from device.config import DeviceConfig
from device.region_choice import RegionChoice
from device.reload import Refusal
from device.status import BinStatus
from device.web.memory import PageMemory
from smartbin.bundle import Bundle
from smartbin.golden import SelfTest


class Reloads(Protocol):
    """Reads configuration and model again when it is asked to, and takes them if they pass their test."""

    @property
    def refusal(self) -> Refusal | None:
        """Why what was asked for last does not run."""
        ...

    def request(self) -> None:
        """Ask for it; does not wait."""
        ...


@dataclass(frozen=True)
class PageParts:
    """The bin called `name`. `origins` say where its settings come from, `test` is the self-test of a bundle, `region`
    is what it looks at and can be made to, `keeps` says whether events are stored, `memory` is what the page before
    this one knew of its visitors.
    """

    name: str
    config: DeviceConfig
    origins: Mapping[str, str]
    status: BinStatus
    bundle: Bundle
    test: Callable[[Bundle], SelfTest | None]
    clock: Clock
    region: RegionChoice
    keeps: bool
    reloader: Reloads
    memory: PageMemory
