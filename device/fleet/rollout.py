"""One command to many bins, a few at a time: the first failure ends it, so that a bad bundle meets few of them.

A command is sent again with the same id while nothing is heard: the bin carries it out once and repeats its newest
answer. Nothing here prints; `tell` gets the news.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from device.fleet.link import FleetLink
from device.fleet.messages import Answer, Command
from device.fleet.roster import KnownBin, Roster
from device.sinks.topics import Topics

_AGAIN_S = 10.0
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one bin."""

    name: str
    result: Literal["done", "failed", "no_answer", "offline", "unknown", "skipped"]
    detail: str = ""
    bundle: str = ""
    took_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it has done what it was asked for."""
        return self.result == "done"


@dataclass(frozen=True, slots=True)
class RolloutRules:
    """Seconds: for the first answer of a bin, for it to run what it has installed, and for the whole."""

    at_a_time: int = 1
    answer_s: float = 15.0
    active_s: float = 180.0
    whole_s: float = 900.0
    stop_at_failure: bool = True


@dataclass(slots=True)
class _Running:
    name: str
    command: Command
    begun_s: float
    sent_s: float
    heard: bool = False
    done: Answer | None = None  # it is loading what it has installed, …
    done_s: float = float("inf")  # … since then


class Rollout:
    """Sends `make_command()` to every bin. `tell` gets a bin's name and what it is doing."""

    def __init__(
        self,
        link: FleetLink,
        roster: Roster,
        prefix: str,
        make_command: Callable[[], Command],
        rules: RolloutRules,
        tell: Callable[[str, str], None],
    ) -> None:
        self._link, self._roster, self._prefix = link, roster, prefix
        self._make_command, self._rules, self._tell = make_command, rules, tell
        self._running: dict[str, _Running] = {}  # by the command's id
        self._outcomes: list[Outcome] = []

    def run(self, names: Sequence[str]) -> list[Outcome]:
        """Until every bin is done, has failed, or is left out because another has. Blocks."""
        waiting = deque(names)
        while waiting or self._running:
            if self._rules.stop_at_failure and not all(outcome.ok for outcome in self._outcomes):
                self._outcomes += [Outcome(name, "skipped", "another bin failed") for name in waiting]
                waiting.clear()
            while waiting and len(self._running) < self._rules.at_a_time:
                self._begin(waiting.popleft())
                if self._outcomes and not self._outcomes[-1].ok and self._rules.stop_at_failure:
                    break
            if self._running:
                self._follow()
        return self._outcomes

    def _begin(self, name: str) -> None:
        known = self._roster.get(name)
        if (why := _why_not(known)) is not None:
            self._outcomes.append(Outcome(name, *why))
            return
        command, now_s = self._make_command(), time.monotonic()
        self._running[command.id] = _Running(name, command, now_s, now_s)
        self._send(self._running[command.id])

    def _send(self, running: _Running) -> None:
        running.sent_s = time.monotonic()
        topic = Topics(self._prefix, running.name).command
        self._link.send(running.command.id, topic, running.command.model_dump_json().encode())

    def _follow(self) -> None:
        for message in self._link.receive(_LOOK_S):
            self._roster.take(message.topic, message.payload)
            name = self._roster.name_of(message.topic, "answer")
            if name is not None:
                self._heard(name, message.payload)
        for running in list(self._running.values()):
            self._look_at(running, time.monotonic())

    def _heard(self, name: str, payload: bytes) -> None:
        try:
            answer = Answer.model_validate_json(payload)
        except ValidationError:
            return
        running = self._running.get(answer.id)
        if running is None or running.name != name:  # to somebody else's command
            return
        running.heard, running.sent_s = True, time.monotonic()
        if not answer.final:
            self._tell(name, f"{answer.phase} {answer.detail}".strip())
        elif answer.phase != "done":
            self._finish(running, Outcome(name, "failed", answer.detail))
        elif answer.activation == "reloading":
            running.done, running.done_s = answer, min(running.done_s, time.monotonic())
            self._tell(name, answer.detail)
        else:
            self._finish(running, Outcome(name, "done", answer.detail, str(answer.bundle or "")))

    def _look_at(self, running: _Running, now_s: float) -> None:
        name, took_s, done = running.name, now_s - running.begun_s, running.done
        if (refusal := self._link.refused.get(running.command.id)) is not None:
            return self._finish(running, Outcome(name, "failed", f"the broker does not take the command: {refusal}"))
        if done is not None and self._runs(name, done):
            return self._finish(running, Outcome(name, "done", "installed and running", str(done.bundle)))
        if done is not None and (refusal := self._refusal(name, done)) is not None:
            return self._finish(running, Outcome(name, "failed", f"installed, but not taken: {refusal}"))
        if not running.heard and took_s >= self._rules.answer_s:
            return self._finish(running, Outcome(name, "no_answer", f"no answer within {self._rules.answer_s:g} s"))
        if now_s - running.done_s >= self._rules.active_s:
            said = f"it does not run what it has installed after {self._rules.active_s:g} s; its log says why"
            return self._finish(running, Outcome(name, "failed", said))
        if done is None and took_s >= self._rules.whole_s:
            return self._finish(running, Outcome(name, "no_answer", f"no end after {self._rules.whole_s:g} s"))
        if done is None and now_s - running.sent_s >= min(_AGAIN_S, self._rules.answer_s / 3):
            self._send(running)
        return None

    def _runs(self, name: str, done: Answer) -> bool:
        known = self._roster.get(name)
        if known is None or known.state is None or known.state.bundle is None or done.bundle is None:
            return False
        return known.state.bundle.sha256 == done.bundle.sha256

    def _refusal(self, name: str, done: Answer) -> str | None:
        """Why a bin goes on with what it ran before, if it has said so since it was done. Both times are its own."""
        known = self._roster.get(name)
        refusal = known.state.refusal if known is not None and known.state is not None else None
        return refusal.what if refusal is not None and refusal.time > done.time else None

    def _finish(self, running: _Running, outcome: Outcome) -> None:
        del self._running[running.command.id]
        took_s = round(time.monotonic() - running.begun_s, 1)
        self._outcomes.append(Outcome(outcome.name, outcome.result, outcome.detail, outcome.bundle, took_s))


def _why_not(known: KnownBin | None) -> tuple[Literal["offline", "unknown", "failed"], str] | None:
    """Why a command to this bin is of no use."""
    if known is None:
        return "unknown", "the broker knows no bin of this name"
    if not known.online:
        return "offline", "the bin is not connected"
    if known.state is not None and not known.state.commands:
        return "failed", "it takes no commands: [fleet] commands = true in its configuration"
    return None
