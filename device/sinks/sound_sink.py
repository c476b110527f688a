"""A command a decision: a sound where the bin is unsure, or whatever else a program on this machine can do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from device.clock import Clock
from device.decision import Decision
from device.events import Event, Session
from device.sinks.queued_sink import QueuedSink, QueueRules
from device.sinks.settings import SoundSettings
from smartbin.errors import ConfigError

_MAX_AGE_S = 2.0  # a sound that comes later belongs to nothing that is seen


class SoundReceiver:
    """Runs one command after the other, never through a shell."""

    def __init__(self, settings: SoundSettings) -> None:
        self._settings = settings
        for key, command in (("accepted", settings.accepted), ("unsure", settings.unsure)):
            if command and shutil.which(command[0]) is None:
                raise ConfigError(
                    "no such program", where=f"[sinks.sound] {key}", found=command[0], expected="a program to run"
                )

    def wants(self, event: Event) -> bool:
        """Decisions that have a command."""
        return event.decision is not None and bool(self._command(event.decision))

    def start(self, session: Session) -> None:
        """Nothing to open."""

    def tick(self) -> float | None:
        """Nothing is due without an event."""
        return None

    def deliver(self, event: Event) -> None:
        """Run the command to its end, or to the end of its time."""
        assert event.decision is not None
        command = filled(self._command(event.decision), event.decision)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._settings.timeout_s, check=False
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise ChildProcessError(f"{command[0]} ended with {done.returncode}{': ' + said[-1] if said else ''}")

    def close(self) -> None:
        """No command outlives `deliver`."""

    def _command(self, decision: Decision) -> Sequence[str]:
        return self._settings.accepted if decision.kind == "accepted" else self._settings.unsure


def filled(command: Sequence[str], decision: Decision) -> list[str]:
    """The command with `{label}` and `{bin}` replaced; everything else stays as it is."""
    return [part.replace("{label}", decision.label or "").replace("{bin}", decision.bin) for part in command]


def open_sound(settings: SoundSettings, clock: Clock) -> QueuedSink:
    """The sink of `[sinks.sound]`; `ConfigError` for a program that is not there."""
    rules = QueueRules(limit=2, max_age_s=_MAX_AGE_S, attempts=1, flush_s=0.0, block_s=settings.timeout_s)
    return QueuedSink("sound", SoundReceiver(settings), rules, clock)
