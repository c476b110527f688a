"""What the routes of one bin's page share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from device.config import DeviceConfig
from device.region_choice import RegionChoice, described
from device.samples.accuracy import LiveAccuracy
from device.status import BinStatus
from device.web.archive import Archive
from device.web.config_view import Setting, settings_of
from device.web.live import LiveFeed
from device.web.metrics import make_registry
from device.web.model_shelf import ModelShelf
from device.web.parts import PageParts, Reloads
from device.web.rate import RateLimit
from device.web.sessions import Sessions
from device.web.token import GuessBrake, TokenCheck

REGION_KEY = "presence.region"


@dataclass(frozen=True)
class Bin:
    """The bin behind the page."""

    name: str
    config: DeviceConfig
    origins: Mapping[str, str]
    status: BinStatus
    archive: Archive
    shelf: ModelShelf
    feed: LiveFeed
    registry: CollectorRegistry
    folders: dict[str, str]
    token: TokenCheck
    sessions: Sessions
    brake: GuessBrake
    rate: RateLimit
    region: RegionChoice
    reloader: Reloads

    @property
    def upload_bytes(self) -> int:
        """The largest bundle that may be sent to the page; 0: none."""
        return self.config.page.upload_mb * 1_000_000 if self.shelf.may_upload else 0

    def settings(self) -> list[Setting]:
        """The configuration, key by key; the region as it was drawn on the page, if it was."""
        found = settings_of(self.config, self.origins)
        if not self.region.drawn:
            return found
        drawn = {"value": described(self.region.region), "origin": "page"}
        return [one.model_copy(update=drawn) if one.key == REGION_KEY else one for one in found]

    def accuracy(self) -> LiveAccuracy:
        """How often the model that runs is right, by the labels."""
        session = self.status.session
        return self.archive.accuracy(session.model if session is not None else None)

    def trouble(self) -> list[str]:
        """Why it is not ready to judge an item; nothing if it is."""
        status, reconnect = self.status, self.config.source.reconnect
        found = self.stalled()
        if status.session is None:
            found.append("the model is not loaded yet")
        if status.lifecycle != "RUNNING":
            found.append(f"the daemon is {status.lifecycle}{f': {status.reason}' if status.reason else ''}")
        elif status.without_frame_s > reconnect.lost_after_s:
            found.append(f"no frame for {status.without_frame_s:.1f} s")
        return found

    def let_go(self) -> None:
        """Forget everything, when no request comes any more.

        FastAPI remembers the functions of every application there was, and they hold their bin: after a reload the
        status of the run before, with its durations, would stay for good.
        """
        vars(self).clear()

    def refusal(self) -> str:
        """Why what was to be read last does not run; empty if it does."""
        refusal = self.reloader.refusal
        return refusal.told if refusal is not None else ""

    def stalled(self) -> list[str]:
        """Whether the main loop stands still: for half as long as the watchdog allows."""
        still_s, limit_s = self.status.without_progress_s, self.config.runtime.stall_s / 2
        return [f"the main loop has not come round for {still_s:.1f} s"] if still_s > limit_s else []


def make_bin(parts: PageParts, token: str | None) -> Bin:
    """Of what the daemon hands over; `token` is the page's, None for an open one."""
    config, status = parts.config, parts.status
    paths = config.store.paths if parts.keeps else None
    folders = {"models": str(config.bundles.store.root)}
    if paths is not None:
        folders["store"] = str(paths.folder)
    feed = LiveFeed(status, config.page)
    fixed, reload = config.runtime.bundle is not None, parts.reloader.request
    shelf = ModelShelf(parts.bundle, config.bundles, config.page.bundles_from, parts.test, reload, fixed=fixed)
    check = TokenCheck(token)
    parts.memory.open_for(check)
    return Bin(
        name=parts.name,
        config=config,
        origins=parts.origins,
        status=status,
        archive=Archive(paths, parts.clock.wall),
        shelf=shelf,
        feed=feed,
        registry=make_registry(parts.name, status, shelf, feed, folders, lambda: parts.reloader.refusal is not None),
        folders=folders,
        token=check,
        sessions=parts.memory.sessions,
        brake=parts.memory.brake,
        rate=RateLimit(config.page.requests_per_s, parts.clock.now_s),
        region=parts.region,
        reloader=parts.reloader,
    )
