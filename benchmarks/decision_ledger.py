"""Which decision belongs to which visit of an item, and what that comes to: once, twice, missed, nothing there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchmarks.item_films import Visit
from device.decision import Decision

Answer: TypeAlias = Literal["right", "wrong", "uncertain"]
_GRACE_S = 0.5  # so long after its going a decision on an item may still fall: it has surely left only then


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a visit: the decisions that fell on it, in order."""

    visit: Visit
    decisions: tuple[Decision, ...]

    @property
    def answer(self) -> Answer | None:
        """What its first decision says; None if there is none. Without a guess (too dark) is uncertain, too."""
        if not self.decisions:
            return None
        first = self.decisions[0]
        if first.kind != "accepted":
            return "uncertain"
        return "right" if first.label == self.visit.label else "wrong"

    @property
    def wait_s(self) -> float | None:
        """From the item's being where it is held to its first decision; negative where that fell on its way there."""
        return self.decisions[0].decided_s - self.visit.full_s if self.decisions else None


@dataclass(frozen=True, slots=True)
class Ledger:
    """The visits of one film or of many, and the decisions that fell while nothing was there."""

    fates: tuple[Fate, ...] = ()
    nothing_there: tuple[Decision, ...] = ()

    def count(self, decisions: int) -> int:
        """Visits with so many decisions."""
        return sum(len(fate.decisions) == decisions for fate in self.fates)

    @property
    def more_than_once(self) -> int:
        """Visits with two decisions or more."""
        return sum(len(fate.decisions) > 1 for fate in self.fates)

    def answers(self, answer: Answer) -> int:
        """Visits whose first decision is so."""
        return sum(fate.answer == answer for fate in self.fates)

    @property
    def waits_s(self) -> list[float]:
        """Of the decided visits."""
        return [fate.wait_s for fate in self.fates if fate.wait_s is not None]


def settle(visits: Sequence[Visit], decisions: Iterable[Decision]) -> Ledger:
    """Give each decision to the visit that it shares most time with, from its item's arrival until it fell.

    One that shares no time with any visit, or fell later than half a second after its end, was about nothing.
    """
    found: list[list[Decision]] = [[] for _ in visits]
    nothing = []
    for decision in decisions:
        shared = [_shared_s(visit, decision) for visit in visits]
        best = max(range(len(visits)), key=lambda index: shared[index], default=None)
        if best is None or shared[best] <= 0 or decision.decided_s > visits[best].gone_s + _GRACE_S:
            nothing.append(decision)
        else:
            found[best].append(decision)
    fates = tuple(Fate(visit, tuple(fallen)) for visit, fallen in zip(visits, found, strict=True))
    return Ledger(fates, tuple(nothing))


def together(ledgers: Iterable[Ledger]) -> Ledger:
    """All of them as one."""
    every = list(ledgers)
    return Ledger(
        tuple(fate for ledger in every for fate in ledger.fates),
        tuple(decision for ledger in every for decision in ledger.nothing_there),
    )


def _shared_s(visit: Visit, decision: Decision) -> float:
    return min(decision.decided_s, visit.gone_s + _GRACE_S) - max(decision.arrived_s, visit.enters_s)
