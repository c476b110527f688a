"""What the daemon hands to its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from device.clock import Clock
from device.config import DeviceConfig
from device.region_choice import RegionChoice
from device.status import BinStatus
from smartbin.bundle import Bundle
from smartbin.golden import SelfTest


@dataclass(frozen=True)
class PageParts:
    """The bin called `name`. `origins` say where its settings come from, `test` is the self-test of a bundle, `region`
    is what it looks at and can be made to, `keeps` says whether events are stored, `reload` asks for the
    configuration and the model to be read again, which are taken if they pass their test.
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
    reload: Callable[[], None]
